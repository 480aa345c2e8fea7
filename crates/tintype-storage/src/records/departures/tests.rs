use bytes::Bytes;
use serde_json::{Value, json};
use tintype_domain::{Audience, ContentHash, EventId, Lifetime, Mxc, OwnedEventId, OwnedUserId};

use super::*;
use crate::records::sql::{Connection, query};
use crate::records::{
    ApplyTransaction, Body, InsertMedia, InsertRemote, LinkedEvent, Naming, NewAudience, NewBlob, NewLifetime, Quota,
    RemoteKey, RemoteResponse, RemoteSource, linked::learn_event,
};

const ROOM: &str = "!room:elsewhere.example";
const THEIRS: &str = "$theirs";
const OURS: &str = "$ours";

struct Database {
    records: Records,
    _home: engine::Home,
}

/// Events of the room are known, and media is attached to one of them.
struct Know(Mxc);

impl Statement for Know {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        for id in [THEIRS, OURS] {
            let event = LinkedEvent { room_id: Some(ROOM.try_into().unwrap()), ..LinkedEvent::default() };
            learn_event(connection, &event_id(id), &event).await?;
        }
        query("UPDATE linked_media SET state = 'attached', attachment_id = 1, event_id = $2 WHERE media_id = $1")
            .bind(self.0.media_id.as_str())
            .bind(OURS)
            .execute(&mut *connection)
            .await?;
        // As when the room's state was read.
        query("UPDATE rooms SET known = 1").execute(connection).await?;
        Ok(())
    }
}

impl Database {
    /// Alice, bob and somebody of another server are in a room with media of ours and of others.
    async fn with_a_room() -> Self {
        let (records, home) = engine::records().await;
        let database = Self { records, _home: home };
        for who in ["@alice:example.org", "@bob:example.org", "@carol:elsewhere.example"] {
            database.member(who, "join", 1).await;
        }
        let media = InsertMedia {
            mxc: mxc("example.org"),
            blob: blob(b"ours"),
            content_type: b"image/png".to_vec(),
            filename: None,
            uploader: OwnedUserId::try_from("@alice:example.org").unwrap(),
            created_at: Timestamp(1),
            quota: Quota::UNLIMITED,
            lifetime: NewLifetime::Kept,
            audience: NewAudience::Uploader { unattached_until: Timestamp::NEVER },
        };
        database.records.insert_media(media).await.unwrap();
        database.records.write(Know(mxc("example.org"))).await.unwrap();
        let copy = InsertRemote {
            key: copy(),
            blob: blob(b"theirs"),
            content_type: b"image/png".to_vec(),
            filename: None,
            fetched_at: Timestamp(1),
            lifetime: Lifetime::Kept,
            audience: Audience::Event(event_id(THEIRS)),
            source: RemoteSource::Origin,
        };
        database.records.insert_remote(copy).await.unwrap();
        database
    }

    async fn member(&self, who: &str, membership: &str, now: i64) {
        let id = format!("${who}-{membership}-{now}");
        let event = json!({
            "event_id": id, "room_id": ROOM, "sender": who, "type": "m.room.member", "state_key": who,
            "content": { "membership": membership }
        });
        self.brings(event, now).await;
    }

    async fn brings(&self, event: Value, now: i64) {
        let transaction = ApplyTransaction {
            tenant: "example.org".try_into().unwrap(),
            transaction_id: event["event_id"].to_string(),
            events: vec![StreamEvent::from_json(event).unwrap()],
            now: Timestamp(now),
            naming: Naming::Ignored,
        };
        self.records.apply_transaction(transaction).await.unwrap();
    }

    async fn sweep(&self, left_by: i64, of_abandoned_rooms: OfAbandonedRooms) -> Removed {
        let removed = self.records.remove_departed(Timestamp(left_by), Timestamp(999), of_abandoned_rooms, 10).await;
        removed.unwrap()
    }
}

fn mxc(server: &str) -> Mxc {
    Mxc::from_parts(server, "picture").unwrap()
}

fn copy() -> RemoteKey {
    RemoteKey { mxc: mxc("elsewhere.example"), response: RemoteResponse::Original }
}

fn event_id(id: &str) -> OwnedEventId {
    EventId::parse(id).unwrap()
}

fn blob(body: &'static [u8]) -> NewBlob {
    NewBlob { sha256: ContentHash::of(body), size: body.len() as u64, body: Body::Inline(Bytes::from_static(body)) }
}

#[tokio::test]
async fn copies_go_a_while_after_the_last_of_us_left_and_what_is_ours_stays() {
    let database = Database::with_a_room().await;
    database.member("@alice:example.org", "leave", 100).await;
    assert_eq!(database.sweep(100, OfAbandonedRooms::Removed).await, Removed::default(), "bob is still there");
    database.member("@bob:example.org", "ban", 200).await;

    assert_eq!(database.sweep(199, OfAbandonedRooms::Removed).await, Removed::default());
    let removed = database.sweep(200, OfAbandonedRooms::Removed).await;

    assert_eq!((removed.copies, removed.media), (vec![copy()], Vec::new()));
    assert_eq!(database.records.find_remote(&copy()).await.unwrap(), None);
    assert!(database.records.find_media(&mxc("example.org")).await.unwrap().is_some());
}

#[tokio::test]
async fn who_comes_back_in_time_finds_everything() {
    let database = Database::with_a_room().await;
    for who in ["@alice:example.org", "@bob:example.org"] {
        database.member(who, "leave", 100).await;
    }
    database.member("@alice:example.org", "join", 150).await;

    assert_eq!(database.sweep(100, OfAbandonedRooms::Removed).await, Removed::default());
    // The time begins anew.
    database.member("@alice:example.org", "leave", 300).await;
    assert_eq!(database.sweep(299, OfAbandonedRooms::Removed).await, Removed::default());
    assert_eq!(database.sweep(300, OfAbandonedRooms::Removed).await.copies, [copy()]);
}

#[tokio::test]
async fn what_is_ours_goes_from_a_room_where_nobody_at_all_is_left_if_that_is_wanted() {
    for wanted in [OfAbandonedRooms::Kept, OfAbandonedRooms::Removed] {
        let database = Database::with_a_room().await;
        for who in ["@carol:elsewhere.example", "@alice:example.org", "@bob:example.org"] {
            database.member(who, "leave", 100).await;
        }

        let removed = database.sweep(100, wanted).await;

        let expected = if wanted == OfAbandonedRooms::Removed { vec![mxc("example.org")] } else { Vec::new() };
        assert_eq!((removed.media, removed.copies), (expected, vec![copy()]));
    }
}
