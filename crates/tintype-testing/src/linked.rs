//! Restricted media (MSC3911) as the records hold it, laid there behind the server's back: what a test is about is who is
//! given it, and not how it came to be so.

use bytes::Bytes;
use serde_json::Value;
use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OwnedServerName, OwnedUserId, Timestamp};
use tintype_storage::records::{
    Body, InsertMedia, InsertRemote, InsertReservation, LinkedEvent, MediaKind, NewAudience, NewBlob, NewLifetime,
    Quota, RemoteKey, RemoteResponse, RemoteSource,
};

use crate::TestServer;

/// An event that media is attached to, as far as the server knows it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its ID.
    pub id: &'a str,
    /// Its room.
    pub room: Option<&'a str>,
    /// Who sent it.
    pub sender: Option<&'a str>,
    /// Its type.
    pub kind: Option<&'a str>,
    /// Its state key.
    pub state_key: Option<&'a str>,
}

impl TestServer {
    /// Stores restricted media of this user that is attached to nothing.
    ///
    /// # Panics
    /// If it cannot be stored.
    pub async fn store_restricted(
        &self,
        mxc: &str,
        uploader: &str,
        bytes: impl Into<Bytes>,
        content_type: &str,
    ) -> Mxc {
        let mxc: Mxc = mxc.parse().expect("a test names a valid URI");
        let media = InsertMedia {
            mxc: mxc.clone(),
            blob: blob(bytes.into()),
            content_type: content_type.as_bytes().to_vec(),
            filename: None,
            uploader: user(uploader),
            created_at: self.now(),
            quota: Quota::UNLIMITED,
            lifetime: NewLifetime::Kept,
            audience: NewAudience::Uploader { unattached_until: Timestamp::NEVER },
        };
        let records = self.records().await;
        records.insert_media(media).await.expect("the media can be recorded");
        records.close().await;
        mxc
    }

    /// Reserves a URI for restricted media of this user.
    ///
    /// # Panics
    /// If it cannot be reserved.
    pub async fn reserve_restricted(&self, mxc: &str, creator: &str) -> Mxc {
        let mxc: Mxc = mxc.parse().expect("a test names a valid URI");
        let reservation = InsertReservation {
            mxc: mxc.clone(),
            creator: user(creator),
            created_at: self.now(),
            expires_at: Timestamp::NEVER,
            max_pending: 1_000,
            kind: MediaKind::Restricted { unattached_until: Timestamp::NEVER },
        };
        let records = self.records().await;
        records.reserve(reservation).await.expect("the URI can be reserved");
        records.close().await;
        mxc
    }

    /// Keeps media of another server that is for these.
    ///
    /// # Panics
    /// If it cannot be kept.
    pub async fn keep_remote(&self, mxc: &Mxc, audience: Audience, bytes: impl Into<Bytes>, content_type: &str) {
        let insert = InsertRemote {
            key: RemoteKey { mxc: mxc.clone(), response: RemoteResponse::Original },
            blob: blob(bytes.into()),
            content_type: content_type.as_bytes().to_vec(),
            filename: None,
            fetched_at: self.now(),
            lifetime: Lifetime::Kept,
            audience,
            source: RemoteSource::Origin,
        };
        let records = self.records().await;
        records.insert_remote(insert).await.expect("the media can be kept");
        records.close().await;
    }

    /// Records that restricted media is being attached.
    pub async fn begin_to_attach(&self, mxc: &Mxc) {
        self.link(mxc, "attaching", None, None).await;
    }

    /// Records that restricted media is attached to this event.
    pub async fn attach_to_event(&self, mxc: &Mxc, event: Event<'_>) {
        self.know_event(event).await;
        self.link(mxc, "attached", Some(event.id), None).await;
    }

    /// Records that restricted media is attached to this user's profile.
    pub async fn attach_to_profile(&self, mxc: &Mxc, user_id: &str) {
        self.link(mxc, "attached", None, Some(user_id)).await;
    }

    /// Records what is known of an event.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn know_event(&self, event: Event<'_>) {
        self.write(
            "INSERT INTO linked_events (event_id, room_id, sender, event_type, state_key) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (event_id) DO NOTHING",
            [event.id.into(), event.room.into(), event.sender.into(), event.kind.into(), event.state_key.into()],
        )
        .await;
    }

    /// Records what a user is to a room, as the homeserver's events told it.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn know_member(&self, room: &str, user_id: &str, membership: &str, sender: &str, stripped: &Value) {
        self.write(
"INSERT INTO room_members
                 (tenant, room_id, user_id, server_name, membership, event_id, sender, position, since, streamed, stripped)
             VALUES ($1, $2, $3, $4, $5, '$member', $6, 1, 1, 1, $7)
             ON CONFLICT (tenant, room_id, user_id) DO UPDATE SET membership = $5, sender = $6, stripped = $7", [self.name().as_str().into(), room.into(), user_id.into(), user(user_id).server_name().as_str().into(), membership.into(), sender.into(), stripped.to_string().into()]).await;
    }

    /// Records that an event was redacted.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn redact(&self, event_id: &str) {
        self.write(
            "INSERT INTO linked_events (event_id, redacted_at) VALUES ($1, $2)
             ON CONFLICT (event_id) DO UPDATE SET redacted_at = $2",
            [event_id.into(), self.now().as_millis().into()],
        )
        .await;
    }

    /// Who may see media of ours; none if it is not restricted.
    ///
    /// # Panics
    /// If the records cannot be read.
    pub async fn audience(&self, mxc: &Mxc) -> Option<Audience> {
        let records = self.records().await;
        let link = records.find_link(mxc).await.expect("the link can be read");
        records.close().await;
        link.map(|link| link.audience)
    }

    /// What is known of an event that media is attached to; none if nothing is.
    ///
    /// # Panics
    /// If the records cannot be read.
    pub async fn known_event(&self, event_id: &str) -> Option<LinkedEvent> {
        let event_id = event_id.try_into().expect("a test names a valid event");
        let records = self.records().await;
        let event = records.find_linked_event(event_id).await.expect("the event can be read");
        records.close().await;
        event
    }

    /// Whether media of ours is recorded, whoever may see it.
    ///
    /// # Panics
    /// If the records cannot be read.
    pub async fn is_recorded(&self, mxc: &Mxc) -> bool {
        let records = self.records().await;
        let found = records.find_media(mxc).await.expect("the records can be read");
        records.close().await;
        found.is_some()
    }

    /// Whether media of another server is kept here.
    ///
    /// # Panics
    /// If the records cannot be read.
    pub async fn is_kept(&self, mxc: &Mxc) -> bool {
        let key = RemoteKey { mxc: mxc.clone(), response: RemoteResponse::Original };
        let records = self.records().await;
        let found = records.find_remote(&key).await.expect("the records can be read");
        records.close().await;
        found.is_some()
    }

    async fn link(&self, mxc: &Mxc, state: &str, event_id: Option<&str>, profile_user: Option<&str>) {
        let changed = self
            .write(
                "UPDATE linked_media SET state = $3, attachment_id = 1, event_id = $4, profile_user = $5
             WHERE server_name = $1 AND media_id = $2",
                [
                    mxc.server_name.as_str().into(),
                    mxc.media_id.as_str().into(),
                    state.into(),
                    event_id.into(),
                    profile_user.into(),
                ],
            )
            .await;
        assert_eq!(changed, 1, "{mxc} is no restricted media");
    }
}

/// What the users of a server are to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// At least one is in it.
    Joined,
    /// At least one is invited.
    Invited,
}

/// What the stream of an application service would have told.
impl TestServer {
    /// Records the history visibility at an event, and where it was in the stream.
    ///
    /// # Panics
    /// If it cannot be recorded, or nothing is known of the event.
    pub async fn place_event(&self, event_id: &str, visibility: Option<&str>, position: Option<i64>) {
        let placed = self
            .write(
                "UPDATE linked_events SET visibility = $2, position = $3 WHERE event_id = $1",
                [event_id.into(), visibility.into(), position.into()],
            )
            .await;
        assert_eq!(placed, 1, "nothing is known of {event_id}");
    }

    /// Records that everything is known of a room.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn know_room(&self, room: &str) {
        self.write(
            "INSERT INTO rooms (tenant, room_id, followed_since, known) VALUES ($1, $2, 1, 1)",
            [self.name().as_str().into(), room.into()],
        )
        .await;
    }

    /// Records that a server had users in a room from one position of the stream to another, both included.
    ///
    /// # Panics
    /// If it cannot be recorded.
    pub async fn place_server(
        &self,
        room: &str,
        server: &OwnedServerName,
        presence: Presence,
        from: i64,
        until: Option<i64>,
    ) {
        let membership = match presence {
            Presence::Joined => "join",
            Presence::Invited => "invite",
        };
        self.write(
            "INSERT INTO room_servers (tenant, room_id, server_name, membership, from_position, until_position)
             VALUES ($1, $2, $3, $4, $5, $6)",
            [
                self.name().as_str().into(),
                room.into(),
                server.as_str().into(),
                membership.into(),
                from.into(),
                until.into(),
            ],
        )
        .await;
    }
}

fn blob(bytes: Bytes) -> NewBlob {
    NewBlob { sha256: ContentHash::of(&bytes), size: bytes.len() as u64, body: Body::Inline(bytes) }
}

fn user(user_id: &str) -> OwnedUserId {
    OwnedUserId::try_from(user_id).expect("a test names a valid user")
}
