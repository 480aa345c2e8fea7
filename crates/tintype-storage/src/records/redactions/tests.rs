use bytes::Bytes;
use serde_json::Map;
use tintype_domain::{Audience, ContentHash, Lifetime};

use super::*;
use crate::records::sql::{Connection, query};
use crate::records::{
    Body, InsertMedia, InsertRemote, LinkedEvent, NewAudience, NewBlob, NewLifetime, Quota, RemoteResponse,
    RemoteSource, linked::learn_event,
};

const NOW: Timestamp = Timestamp(1_000);
const DUE: Timestamp = Timestamp(2_000);
const ROOM: &str = "!room:example.org";
const EVENT: &str = "$picture";
const ALICE: &str = "@alice:example.org";

struct Database {
    records: Records,
    _home: engine::Home,
}

/// What the stream brings of an event.
struct Note(StreamEvent);

impl Statement for Note {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        note(connection, "example.org", &self.0, NOW).await
    }
}

/// Media is attached to an event.
struct Attach {
    mxc: Mxc,
    event: LinkedEvent,
}

impl Statement for Attach {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        learn_event(connection, &event_id(EVENT), &self.event).await?;
        query("UPDATE linked_media SET state = 'attached', attachment_id = 1, event_id = $2 WHERE media_id = $1")
            .bind(self.mxc.media_id.as_str())
            .bind(EVENT)
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl Database {
    async fn new() -> Self {
        let (records, home) = engine::records().await;
        Self { records, _home: home }
    }

    async fn upload(&self, id: &str, body: &'static [u8]) -> Mxc {
        let media = InsertMedia {
            mxc: mxc(id),
            blob: blob(body),
            content_type: b"image/png".to_vec(),
            filename: None,
            uploader: user(ALICE),
            created_at: Timestamp(1),
            quota: Quota::UNLIMITED,
            lifetime: NewLifetime::Kept,
            audience: NewAudience::Uploader { unattached_until: Timestamp::NEVER },
        };
        self.records.insert_media(media).await.unwrap();
        mxc(id)
    }

    async fn attach(&self, mxc: &Mxc) {
        let event = LinkedEvent {
            room_id: Some(ROOM.try_into().unwrap()),
            sender: Some(user(ALICE)),
            event_type: Some("m.room.message".to_owned()),
            state_key: None,
            visibility: None,
            position: None,
            redacted_at: None,
        };
        self.records.write(Attach { mxc: mxc.clone(), event }).await.unwrap();
    }

    /// Media that is attached to the event.
    async fn attached(&self) -> Mxc {
        let mxc = self.upload("picture", b"a picture").await;
        self.attach(&mxc).await;
        mxc
    }

    async fn note(&self, event: StreamEvent) {
        self.records.write(Note(event)).await.unwrap();
    }

    async fn decide(&self) -> Vec<RedactedEvent> {
        self.records.decide_redactions(NOW, DUE, 10).await.unwrap()
    }

    async fn redact(&self) -> Option<RedactedEvent> {
        self.records.redact(event_id(EVENT), NOW, DUE).await.unwrap()
    }

    async fn is_redacted(&self, mxc: &Mxc) -> bool {
        self.records.find_media(mxc).await.unwrap().expect("the media is there").record.redacted_at.is_some()
    }

    async fn fetched(&self) -> RemoteKey {
        let key =
            RemoteKey { mxc: "mxc://elsewhere.example/picture".parse().unwrap(), response: RemoteResponse::Original };
        let response = InsertRemote {
            key: key.clone(),
            blob: blob(b"theirs"),
            content_type: b"image/png".to_vec(),
            filename: None,
            fetched_at: NOW,
            lifetime: Lifetime::Kept,
            audience: Audience::Event(event_id(EVENT)),
            source: RemoteSource::Origin,
        };
        self.records.insert_remote(response).await.unwrap();
        key
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

fn user(id: &str) -> OwnedUserId {
    id.try_into().unwrap()
}

fn event_id(id: &str) -> OwnedEventId {
    id.try_into().unwrap()
}

fn blob(body: &'static [u8]) -> NewBlob {
    NewBlob { sha256: ContentHash::of(body), size: body.len() as u64, body: Body::Inline(Bytes::from_static(body)) }
}

fn redaction(sender: &str, room: &str) -> StreamEvent {
    StreamEvent {
        event_id: event_id("$redaction"),
        room_id: room.try_into().unwrap(),
        sender: user(sender),
        event_type: REDACTION.to_owned(),
        state_key: None,
        content: Map::new(),
        redacts: Some(event_id(EVENT)),
        stripped: Vec::new(),
    }
}

#[tokio::test]
async fn what_its_sender_redacts_is_redacted_at_once() {
    let database = Database::new().await;
    let mxc = database.attached().await;
    database.note(redaction(ALICE, ROOM)).await;

    let redacted = database.decide().await;

    assert_eq!(redacted, [RedactedEvent { event_id: event_id(EVENT), media: vec![mxc.clone()], copies: Vec::new() }]);
    assert!(database.is_redacted(&mxc).await);
    assert_eq!(database.records.pending_redactions().await.unwrap(), 0);
}

#[tokio::test]
async fn what_another_redacts_or_in_another_room_or_with_another_event_is_not() {
    for event in [
        redaction("@mallory:example.org", ROOM),
        redaction(ALICE, "!elsewhere:example.org"),
        StreamEvent { event_type: "m.room.message".to_owned(), ..redaction(ALICE, ROOM) },
    ] {
        let database = Database::new().await;
        let mxc = database.attached().await;
        database.note(event).await;

        assert_eq!(database.decide().await, []);

        assert!(!database.is_redacted(&mxc).await);
        assert_eq!(database.records.remove_redacted(Timestamp::NEVER, 10).await.unwrap(), Removed::default());
    }
}

#[tokio::test]
async fn the_homeserver_is_asked_about_the_rest_again_and_again_until_it_is_given_up() {
    let database = Database::new().await;
    database.note(redaction("@moderator:example.org", ROOM)).await;
    let due = async |now| database.records.redactions_due(Timestamp(now), 10).await.unwrap();
    let asked = due(1_000).await;
    assert_eq!((asked.len(), &asked[0].target, asked[0].tries, asked[0].failures), (1, &event_id(EVENT), 0, 0));

    for why in [RedactionTry::NotRedacted, RedactionTry::Failed] {
        database.records.postpone_redaction(event_id("$redaction"), why, Timestamp(5_000)).await.unwrap();
    }

    assert_eq!(due(4_999).await, []);
    let again = due(5_000).await;
    assert_eq!((again[0].tries, again[0].failures), (1, 1));
    database.records.reject_redaction(event_id("$redaction")).await.unwrap();
    assert_eq!(due(i64::MAX).await, []);
}

#[tokio::test]
async fn what_something_is_attached_to_is_asked_about_first() {
    let database = Database::new().await;
    database.attached().await;
    let other = |id: &str| StreamEvent {
        event_id: event_id(&format!("$redaction-of-{id}")),
        redacts: Some(event_id(id)),
        ..redaction("@moderator:example.org", ROOM)
    };
    database.note(other("$text")).await;
    database.note(other(EVENT)).await;

    let due = database.records.redactions_due(NOW, 1).await.unwrap();

    assert_eq!(due[0].target, event_id(EVENT));
    assert_eq!(due[0].target_sender, Some(user(ALICE)));
}

#[tokio::test]
async fn a_link_that_comes_after_its_event_was_redacted_is_dead_on_arrival() {
    for removed_before in [false, true] {
        let database = Database::new().await;
        assert_eq!(database.redact().await.expect("it is new").media, []);
        if removed_before {
            database.records.remove_redacted(DUE, 10).await.unwrap();
        }
        let mxc = database.upload("late", b"late").await;

        database.attach(&mxc).await;

        assert!(database.is_redacted(&mxc).await);
        let removed = database.records.remove_redacted(DUE, 10).await.unwrap();
        assert_eq!(removed.media, [mxc], "removed before: {removed_before}");
    }
}

#[tokio::test]
async fn a_redaction_is_decided_when_it_becomes_known_whose_event_it_was_of() {
    let database = Database::new().await;
    database.note(redaction(ALICE, ROOM)).await;
    assert_eq!(database.decide().await, []);
    database.records.postpone_redaction(event_id("$redaction"), RedactionTry::Failed, Timestamp::NEVER).await.unwrap();

    let mxc = database.attached().await;

    assert_eq!(database.decide().await[0].media, [mxc]);
}

#[tokio::test]
async fn what_is_redacted_goes_when_its_time_has_come_and_other_media_with_its_bytes_stays() {
    let database = Database::new().await;
    let mxc = database.attached().await;
    let same = database.upload("same", b"a picture").await;
    database.redact().await;

    let before = database.records.remove_redacted(Timestamp(DUE.0 - 1), 10).await.unwrap();
    assert_eq!(before, Removed::default());
    let removed = database.records.remove_redacted(DUE, 10).await.unwrap();

    assert_eq!(removed.media, std::slice::from_ref(&mxc));
    assert_eq!(database.records.find_media(&mxc).await.unwrap(), None);
    assert_eq!(database.records.find_link(&mxc).await.unwrap(), None);
    let found = database.records.find_media(&same).await.unwrap().expect("it is another's");
    assert_eq!(found.body, Body::Inline(Bytes::from_static(b"a picture")));
    assert_eq!(database.records.usage(&user(ALICE)).await.unwrap().media, 1);
}

#[tokio::test]
async fn an_event_is_redacted_once() {
    let database = Database::new().await;
    database.attached().await;

    assert!(database.redact().await.is_some());
    assert!(database.redact().await.is_none());
    database.note(redaction(ALICE, ROOM)).await;
    assert_eq!(database.records.pending_redactions().await.unwrap(), 0);
}

#[tokio::test]
async fn copies_of_other_servers_media_go_at_once_and_those_that_are_fetched_later_with_the_next_sweep() {
    let database = Database::new().await;
    let key = database.fetched().await;

    let redacted = database.redact().await.expect("it is new");

    assert_eq!(redacted.copies, std::slice::from_ref(&key));
    assert_eq!(database.records.find_remote(&key).await.unwrap(), None);
    assert_eq!(database.records.remote_usage().await.unwrap().responses, 0);
    database.records.remove_redacted(DUE, 10).await.unwrap();
    database.fetched().await;
    assert!(database.records.find_remote(&key).await.unwrap().expect("it is there").record.redacted_at.is_some());
    assert_eq!(database.records.remove_redacted(DUE, 10).await.unwrap().copies, std::slice::from_ref(&key));
    assert_eq!(database.records.find_remote(&key).await.unwrap(), None);
}
