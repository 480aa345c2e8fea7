use bytes::Bytes;
use serde_json::json;
use tintype_domain::{ContentHash, OwnedEventId};

use super::*;
use crate::records::{ApplyTransaction, Body, InsertMedia, NewAudience, NewBlob, NewLifetime, Quota};

const ALICE: &str = "@alice:example.org";
const BOB: &str = "@bob:example.org";
const ROOM: &str = "!room:example.org";

/// The stream begins before all media, and redactions are due a while after all of it.
const STREAM: i64 = 1;
const UPLOAD: i64 = 10;
const DUE: i64 = 1_000;

struct Database {
    records: Records,
    _home: engine::Home,
}

impl Database {
    /// A stream that has begun, and a picture of alice's.
    async fn new() -> Self {
        let (records, home) = engine::records().await;
        let database = Self { records, _home: home };
        database.brings("$first", BOB, json!({}), STREAM).await;
        database.upload("picture", UPLOAD, NewAudience::Everyone).await;
        database
    }

    async fn upload(&self, id: &str, created_at: i64, audience: NewAudience) {
        let body = b"a picture";
        let media = InsertMedia {
            mxc: mxc(id),
            blob: NewBlob {
                sha256: ContentHash::of(body),
                size: body.len() as u64,
                body: Body::Inline(Bytes::from_static(body)),
            },
            content_type: b"image/png".to_vec(),
            filename: None,
            uploader: ALICE.try_into().unwrap(),
            created_at: Timestamp(created_at),
            quota: Quota::UNLIMITED,
            lifetime: NewLifetime::Kept,
            audience,
        };
        self.records.insert_media(media).await.unwrap();
    }

    async fn brings(&self, id: &str, sender: &str, content: Value, now: i64) {
        let event = json!({
            "event_id": id, "room_id": ROOM, "sender": sender, "type": "m.room.message", "content": content
        });
        self.brings_event(event, now).await;
    }

    async fn brings_event(&self, event: Value, now: i64) {
        let transaction = ApplyTransaction {
            tenant: "example.org".try_into().unwrap(),
            transaction_id: event["event_id"].to_string(),
            events: vec![StreamEvent::from_json(event).unwrap()],
            now: Timestamp(now),
            naming: Naming::Noted,
        };
        self.records.apply_transaction(transaction).await.unwrap();
    }

    async fn sends_picture(&self, id: &str, sender: &str) {
        self.brings(id, sender, json!({ "url": "mxc://example.org/picture" }), 20).await;
    }

    async fn redact(&self, id: &str, due: i64) {
        let id = OwnedEventId::try_from(id).unwrap();
        self.records.redact(id, Timestamp(30), Timestamp(due)).await.unwrap();
    }

    async fn unnamed(&self, now: i64) -> Vec<Mxc> {
        let unnamed = self.records.unnamed_media(Timestamp(now), 10).await.unwrap();
        unnamed.into_iter().map(|unnamed| unnamed.mxc).collect()
    }

    async fn settle(&self, fate: UnnamedFate) -> Vec<Mxc> {
        self.records.settle_unnamed(mxc("picture"), fate, Timestamp(DUE)).await.unwrap().media
    }

    async fn is_there(&self) -> bool {
        self.records.find_media(&mxc("picture")).await.unwrap().is_some()
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

#[tokio::test]
async fn media_goes_a_while_after_the_only_event_that_named_it_was_redacted() {
    let database = Database::new().await;
    database.sends_picture("$one", ALICE).await;
    assert_eq!(database.unnamed(i64::MAX).await, []);
    database.redact("$one", DUE).await;

    assert_eq!(database.unnamed(DUE - 1).await, []);
    assert_eq!(database.unnamed(DUE).await, [mxc("picture")]);
    assert!(database.is_there().await, "it is not settled yet");
    assert_eq!(database.settle(UnnamedFate::Removed).await, [mxc("picture")]);

    assert!(!database.is_there().await);
    assert_eq!(database.unnamed(DUE).await, []);
}

#[tokio::test]
async fn it_stays_until_every_event_that_names_it_is_redacted_in_whatever_order() {
    for (first, last) in [("$one", "$two"), ("$two", "$one")] {
        let database = Database::new().await;
        database.sends_picture("$one", ALICE).await;
        let html = json!({ "formatted_body": "look: <img src=\"mxc://example.org/picture\" alt=''>" });
        database.brings("$two", BOB, html, 20).await;
        database.redact(first, DUE).await;
        assert_eq!(database.unnamed(DUE).await, [], "{last} names it");

        database.redact(last, 2 * DUE).await;

        assert_eq!(database.unnamed(2 * DUE - 1).await, []);
        assert_eq!(database.unnamed(2 * DUE).await, [mxc("picture")]);
    }
}

#[tokio::test]
async fn nobody_has_anothers_media_deleted() {
    let database = Database::new().await;
    database.sends_picture("$theft", BOB).await;

    database.redact("$theft", DUE).await;

    assert_eq!(database.unnamed(DUE).await, []);
    assert!(database.is_there().await);
}

#[tokio::test]
async fn what_was_there_before_the_stream_and_what_is_restricted_stays() {
    let database = Database::new().await;
    database.upload("old", STREAM, NewAudience::Everyone).await;
    database.upload("restricted", UPLOAD, NewAudience::Uploader { unattached_until: Timestamp::NEVER }).await;
    let content = json!({ "body": "mxc://example.org/old", "more": ["mxc://example.org/restricted"] });
    database.brings("$one", ALICE, content, 20).await;

    database.redact("$one", DUE).await;

    assert_eq!(database.unnamed(DUE).await, []);
}

#[tokio::test]
async fn an_avatar_is_spared() {
    let database = Database::new().await;
    database.sends_picture("$one", ALICE).await;
    database.redact("$one", DUE).await;
    let event = json!({
        "event_id": "$avatar", "room_id": ROOM, "sender": ALICE, "type": "m.room.avatar", "state_key": "",
        "content": { "url": "mxc://example.org/picture" }
    });
    assert_eq!(database.unnamed(DUE).await, [mxc("picture")]);

    database.brings_event(event, 40).await;

    assert_eq!(database.settle(UnnamedFate::Removed).await, []);
    assert!(database.is_there().await);
}

#[tokio::test]
async fn whose_profile_shows_it_keeps_it() {
    let database = Database::new().await;
    database.sends_picture("$one", ALICE).await;
    database.redact("$one", DUE).await;

    assert_eq!(database.settle(UnnamedFate::Spared).await, []);

    assert!(database.is_there().await);
    assert_eq!(database.unnamed(DUE).await, []);
}

#[tokio::test]
async fn after_a_time_without_notes_nothing_older_goes() {
    let database = Database::new().await;
    database.sends_picture("$one", ALICE).await;
    database.records.forget_naming().await.unwrap();
    database.brings("$later", BOB, json!({}), 20).await;
    database.sends_picture("$two", ALICE).await;

    database.redact("$two", DUE).await;

    assert_eq!(database.unnamed(DUE).await, []);
}

#[test]
fn uris_are_found_wherever_they_stand() {
    let content = json!({
        "url": "mxc://example.org/a",
        "file": { "url": "mxc://example.org/b" },
        "info": { "thumbnail_file": { "url": "mxc://example.org/c" } },
        "formatted_body": "<a href='mxc://example.org/d?x'>mxc://example.org/e</a>, mxc://x mxc://example.org/f.",
        "images": [{ "mxc://example.org/g": 1 }, "mxc://example.org/", "mxc://", "mxc:/example.org/no"],
    });
    let Value::Object(content) = content else { unreachable!() };

    let found: Vec<_> = named_in(&content).into_iter().map(|mxc| mxc.media_id.to_string()).collect();

    assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g"]);
}
