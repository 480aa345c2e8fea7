//! The journal of attaching, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

mod ending;
mod stream;
mod taking;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tintype_domain::{
    Audience, ContentHash, EventId, Mxc, OwnedEventId, OwnedUserId, RoomId, ServerName, Timestamp, UserId,
};
use tintype_storage::records::{
    ANSWERS_RETRIES, ApplyTransaction, AttachmentOutcome, AttachmentTarget, Attempt, BeginAttachment, BeginOutcome,
    Body, ConcludeAttachment, Concluded, EndUnresolved, InsertMedia, InsertReservation, LinkedEvent, MediaKind, Naming,
    NewAudience, NewBlob, NewLifetime, Quota, Records, ReserveOutcome, StreamEvent, TransactionOutcome,
    VisibilityQuestion, hash_of_content,
};

use super::support::{self, Home};

/// When everything here happens that does not happen at another time.
const NOW: Timestamp = Timestamp(1_000_000);

/// Until when media that is attached to nothing is kept.
const UNTIL: Timestamp = Timestamp(100_000_000);

const LATER: Timestamp = Timestamp(200_000_000);

struct Database {
    records: Records,
    folder: Home,
}

impl Database {
    async fn new() -> Self {
        let (records, folder) = support::records().await;
        Self { records, folder }
    }

    /// One with restricted media of Alice's under these IDs.
    async fn with(ids: &[&'static str]) -> Self {
        let database = Self::new().await;
        for id in ids {
            database.insert(id, alice(), NewAudience::Uploader { unattached_until: UNTIL }).await;
        }
        database
    }

    async fn insert(&self, id: &'static str, uploader: OwnedUserId, audience: NewAudience) {
        let body = id.as_bytes();
        let sha256 = ContentHash::of(body);
        let media = InsertMedia {
            mxc: mxc(id),
            blob: NewBlob { sha256, size: body.len() as u64, body: Body::Inline(Bytes::from_static(body)) },
            content_type: b"text/plain".to_vec(),
            filename: None,
            uploader,
            created_at: Timestamp(1),
            quota: Quota::UNLIMITED,
            lifetime: NewLifetime::Kept,
            audience,
        };
        self.records.insert_media(media).await.unwrap();
    }

    async fn begin(&self, begin: BeginAttachment) -> BeginOutcome {
        self.records.begin_attachment(begin).await.unwrap()
    }

    /// Begins, and expects to be allowed to.
    async fn begun(&self, begin: BeginAttachment) -> i64 {
        match self.begin(begin).await {
            BeginOutcome::Begun { id, .. } => id,
            other => panic!("it was not begun: {other:?}"),
        }
    }

    async fn conclude(&self, id: i64, outcome: AttachmentOutcome) -> Concluded {
        self.records.conclude_attachment(ConcludeAttachment { id, outcome, now: NOW }).await.unwrap()
    }

    async fn audience(&self, id: &str) -> Audience {
        self.records.find_link(&mxc(id)).await.unwrap().unwrap().audience
    }

    async fn heal(&self, event: StreamEvent) -> Vec<Mxc> {
        self.records.heal_attachment(alice().server_name(), event, NOW).await.unwrap()
    }

    /// The stream of a server's homeserver brings an event.
    async fn brings(&self, tenant: &str, event: StreamEvent) -> Vec<Mxc> {
        let transaction = ApplyTransaction {
            tenant: ServerName::parse(tenant).unwrap(),
            transaction_id: event.event_id.to_string(),
            events: vec![event],
            now: NOW,
            naming: Naming::Ignored,
        };
        match self.records.apply_transaction(transaction).await.unwrap() {
            TransactionOutcome::Applied(applied) => applied.healed,
            TransactionOutcome::Repeated => panic!("it was applied before"),
        }
    }

    async fn position(&self, event_id: &str) -> Option<i64> {
        self.records.find_linked_event(&event(event_id)).await.unwrap().and_then(|event| event.position)
    }

    async fn end_unresolved(&self, now: Timestamp) -> Vec<Mxc> {
        let end = EndUnresolved { now, settled_before: now, limit: 100 };
        self.records.end_unresolved(end).await.unwrap().into_iter().map(|ended| ended.mxc).collect()
    }

    /// A process that begins where this one was killed.
    async fn after_a_crash(self) -> Self {
        self.records.close().await;
        let records = self.folder.open().await;
        records.abandon_attachments(NOW).await.unwrap();
        Self { records, folder: self.folder }
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

fn alice() -> OwnedUserId {
    UserId::parse("@alice:example.org").unwrap()
}

fn bob() -> OwnedUserId {
    UserId::parse("@bob:example.org").unwrap()
}

fn event(id: &str) -> OwnedEventId {
    EventId::parse(id).unwrap()
}

fn content() -> Value {
    json!({ "msgtype": "m.image", "body": "cat.png", "url": "mxc://example.org/one" })
}

fn content_hash(content: &Value) -> Option<ContentHash> {
    content.as_object().map(hash_of_content)
}

/// Alice sends these in one message, `txn` of her device.
fn send(txn: &str, ids: &[&str]) -> BeginAttachment {
    BeginAttachment {
        tenant: alice().server_name().to_owned(),
        user: alice(),
        device: Some("PHONE".to_owned()),
        method: "PUT".to_owned(),
        path: format!("/_matrix/client/v3/rooms/!room:example.org/send/m.room.message/{txn}"),
        media: ids.iter().map(|id| mxc(id)).collect(),
        body: ContentHash::of(content().to_string().as_bytes()),
        target: AttachmentTarget::Transaction {
            room_id: RoomId::parse("!room:example.org").unwrap(),
            event_type: "m.room.message".to_owned(),
        },
        content: content_hash(&content()),
        now: NOW,
    }
}

/// Alice makes this the avatar of the room.
fn set_avatar(ids: &[&str]) -> BeginAttachment {
    BeginAttachment {
        path: "/_matrix/client/v3/rooms/!room:example.org/state/m.room.avatar".to_owned(),
        target: AttachmentTarget::State {
            room_id: RoomId::parse("!room:example.org").unwrap(),
            event_type: "m.room.avatar".to_owned(),
            state_key: String::new(),
        },
        ..send("", ids)
    }
}

fn create_room(ids: &[&str]) -> BeginAttachment {
    BeginAttachment {
        method: "POST".to_owned(),
        path: "/_matrix/client/v3/createRoom".to_owned(),
        target: AttachmentTarget::NewRoom,
        ..send("", ids)
    }
}

fn linked() -> LinkedEvent {
    LinkedEvent {
        room_id: Some(RoomId::parse("!room:example.org").unwrap()),
        sender: Some(alice()),
        event_type: Some("m.room.message".to_owned()),
        ..LinkedEvent::default()
    }
}

fn became(event_id: &str) -> AttachmentOutcome {
    AttachmentOutcome::Event { event_id: event(event_id), event: linked(), removal_due: LATER }
}

const UNKNOWN: AttachmentOutcome = AttachmentOutcome::Unknown { room_id: None };

/// What the stream brings when the homeserver has taken [`send`].
fn seen(event_id: &str) -> StreamEvent {
    StreamEvent {
        event_id: event(event_id),
        room_id: RoomId::parse("!room:example.org").unwrap(),
        sender: alice(),
        event_type: "m.room.message".to_owned(),
        state_key: None,
        content: content().as_object().unwrap().clone(),
        stripped: Vec::new(),
        redacts: None,
    }
}
