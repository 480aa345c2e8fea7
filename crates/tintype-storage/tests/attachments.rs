//! The journal of attaching, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tintype_domain::{
    Audience, ContentHash, EventId, Mxc, OwnedEventId, OwnedUserId, RoomId, ServerName, Timestamp, UserId,
};
use tintype_storage::records::{
    ANSWERS_RETRIES, ApplyTransaction, AttachmentOutcome, AttachmentTarget, Attempt, BeginAttachment, BeginOutcome,
    Body, ConcludeAttachment, Concluded, EndUnresolved, InsertMedia, InsertReservation, LinkedEvent, MediaKind, Naming,
    NewAudience, NewBlob, NewLifetime, Quota, Records, ReserveOutcome, StreamEvent, TransactionOutcome,
    VisibilityQuestion, hash_of_content,
};

/// When everything here happens that does not happen at another time.
const NOW: Timestamp = Timestamp(1_000_000);

/// Until when media that is attached to nothing is kept.
const UNTIL: Timestamp = Timestamp(100_000_000);

const LATER: Timestamp = Timestamp(200_000_000);

struct Database {
    records: Records,
    folder: TempDir,
}

impl Database {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let records = Records::open_sqlite(&folder.path().join("records.db")).await.unwrap();
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
        let records = Records::open_sqlite(&self.folder.path().join("records.db")).await.unwrap();
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

#[tokio::test]
async fn what_is_being_attached_belongs_to_nobody_else_and_then_to_its_event() {
    let database = Database::with(&["one", "two"]).await;

    let id = database.begun(send("1", &["one", "two"])).await;
    assert_eq!(database.audience("one").await, Audience::Attaching);
    let concluded = database.conclude(id, became("$one")).await;

    assert_eq!(concluded, Concluded::Attached(vec![mxc("one"), mxc("two")]));
    assert_eq!(database.audience("two").await, Audience::Event(event("$one")));
    assert_eq!(database.records.media_of_event(&event("$one")).await.unwrap(), [mxc("one"), mxc("two")]);
    assert_eq!(database.records.find_linked_event(&event("$one")).await.unwrap(), Some(linked()));
}

#[tokio::test]
async fn a_profile_has_its_media_without_an_event() {
    let database = Database::with(&["one"]).await;
    let begin = BeginAttachment {
        path: "/_matrix/client/v3/profile/@alice:example.org/avatar_url".to_owned(),
        target: AttachmentTarget::Profile(alice()),
        ..send("", &["one"])
    };

    let id = database.begun(begin).await;
    database.conclude(id, AttachmentOutcome::Profile(alice())).await;

    assert_eq!(database.audience("one").await, Audience::Profile(alice()));
}

#[tokio::test]
async fn of_two_requests_at_once_exactly_one_has_the_media() {
    let database = Database::with(&["one", "two", "three"]).await;

    let (first, second) =
        tokio::join!(database.begin(send("1", &["one", "two"])), database.begin(send("2", &["two", "three"])));

    let begun = |outcome: &BeginOutcome| matches!(outcome, BeginOutcome::Begun { attempt: Attempt::First, .. });
    assert!(begun(&first) != begun(&second), "{first:?} {second:?}");
    let loser = if begun(&first) { second } else { first };
    assert_eq!(loser, BeginOutcome::Taken(mxc("two")));
}

#[tokio::test]
async fn of_many_requests_at_once_exactly_one_has_the_media() {
    let database = Database::with(&["one"]).await;
    let requests = (0..50).map(|txn| {
        let records = database.records.clone();
        tokio::spawn(async move { records.begin_attachment(send(&txn.to_string(), &["one"])).await.unwrap() })
    });

    let mut begun = 0;
    for request in requests.collect::<Vec<_>>() {
        match request.await.unwrap() {
            BeginOutcome::Begun { .. } => begun += 1,
            other => assert_eq!(other, BeginOutcome::Taken(mxc("one"))),
        }
    }

    assert_eq!(begun, 1);
}

#[tokio::test]
async fn if_one_cannot_be_attached_none_is() {
    let database = Database::with(&["one", "taken"]).await;
    database.begun(send("1", &["taken"])).await;

    let refused = database.begin(send("2", &["one", "taken"])).await;

    assert_eq!(refused, BeginOutcome::Taken(mxc("taken")));
    assert_eq!(database.audience("one").await, Audience::Uploader);
}

#[tokio::test]
async fn only_own_restricted_media_of_the_own_server_that_lives_can_be_attached() {
    let database = Database::with(&["over"]).await;
    database.insert("unrestricted", alice(), NewAudience::Everyone).await;
    database.insert("bobs", bob(), NewAudience::Uploader { unattached_until: UNTIL }).await;

    for id in ["unrestricted", "bobs", "unknown"] {
        assert_eq!(database.begin(send("1", &[id])).await, BeginOutcome::NotTheirs(mxc(id)), "{id}");
    }
    let late = BeginAttachment { now: UNTIL, ..send("1", &["over"]) };
    assert_eq!(database.begin(late).await, BeginOutcome::NotTheirs(mxc("over")));
    let elsewhere = Mxc::from_parts("elsewhere.example", "over").unwrap();
    let remote = BeginAttachment { media: [elsewhere.clone()].into(), ..send("1", &[]) };
    assert_eq!(database.begin(remote).await, BeginOutcome::NotTheirs(elsewhere));
}

#[tokio::test]
async fn media_that_is_reserved_can_be_attached_before_it_is_uploaded_until_that_is_too_late() {
    let database = Database::new().await;
    for (id, expires_at) in [("soon", UNTIL), ("never", NOW)] {
        let reservation = InsertReservation {
            mxc: mxc(id),
            creator: alice(),
            created_at: Timestamp(1),
            expires_at,
            max_pending: 100,
            kind: MediaKind::Restricted { unattached_until: UNTIL },
        };
        assert_eq!(database.records.reserve(reservation).await.unwrap(), ReserveOutcome::Reserved);
    }

    database.begun(send("1", &["soon"])).await;

    assert_eq!(database.begin(send("2", &["never"])).await, BeginOutcome::NotTheirs(mxc("never")));
}

#[tokio::test]
async fn what_was_refused_is_free_for_the_next_request() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;

    let concluded = database.conclude(id, AttachmentOutcome::Free).await;

    assert_eq!(concluded, Concluded::Freed(vec![mxc("one")]));
    assert_eq!(database.audience("one").await, Audience::Uploader);
    // Of the same transaction, too, whatever it brings now.
    database.begun(BeginAttachment { body: ContentHash::of(b"{}"), ..send("1", &["one"]) }).await;
}

#[tokio::test]
async fn what_is_unknown_can_only_be_attached_by_a_retry() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;

    assert_eq!(database.conclude(id, UNKNOWN).await, Concluded::Unknown);

    assert_eq!(database.audience("one").await, Audience::Attaching);
    assert_eq!(database.begin(send("2", &["one"])).await, BeginOutcome::Taken(mxc("one")));
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Begun { id, attempt: Attempt::Again });
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Forwarding);
    database.conclude(id, became("$one")).await;
    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
}

#[tokio::test]
async fn a_finished_transaction_answers_its_retries_for_a_day() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;
    let end = NOW + ANSWERS_RETRIES;

    let just_before = BeginAttachment { now: end - Duration::from_millis(1), ..send("1", &["one"]) };
    assert_eq!(database.begin(just_before).await, BeginOutcome::Finished { event_id: event("$one") });

    assert_eq!(
        database.begin(BeginAttachment { now: end, ..send("1", &["one"]) }).await,
        BeginOutcome::Taken(mxc("one"))
    );
}

#[tokio::test]
async fn a_transaction_cannot_be_used_for_something_else() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(send("1", &["one"])).await;
    let others = || {
        let body = ContentHash::of(b"another");
        [send("1", &["two"]), send("1", &["one", "two"]), BeginAttachment { body, ..send("1", &["one"]) }]
    };

    for other in others() {
        assert_eq!(database.begin(other).await, BeginOutcome::OtherRequest, "while it is forwarded");
    }
    database.conclude(id, UNKNOWN).await;
    for other in others() {
        assert_eq!(database.begin(other).await, BeginOutcome::OtherRequest, "while it is unknown");
    }
    let BeginOutcome::Begun { .. } = database.begin(send("1", &["one"])).await else {
        panic!("the retry is forwarded")
    };
    database.conclude(id, became("$one")).await;
    for other in others() {
        assert_eq!(database.begin(other).await, BeginOutcome::OtherRequest, "when it is finished");
    }
    assert_eq!(database.audience("two").await, Audience::Uploader);
}

#[tokio::test]
async fn a_transaction_is_one_of_its_device_and_path() {
    let database = Database::with(&["one", "two", "three", "four"]).await;
    database.begun(send("1", &["one"])).await;

    database.begun(BeginAttachment { device: Some("TABLET".to_owned()), ..send("1", &["two"]) }).await;
    database.begun(BeginAttachment { device: None, ..send("1", &["three"]) }).await;
    database.begun(send("2", &["four"])).await;
}

#[tokio::test]
async fn a_state_event_may_be_sent_to_the_same_path_with_other_media() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(set_avatar(&["one"])).await;
    database.conclude(id, became("$one")).await;

    let second = database.begun(set_avatar(&["two"])).await;
    // The homeserver knows such an event already.
    database.conclude(second, became("$one")).await;

    assert_eq!(database.records.media_of_event(&event("$one")).await.unwrap(), [mxc("one"), mxc("two")]);
    assert_eq!(database.begin(set_avatar(&["one"])).await, BeginOutcome::Finished { event_id: event("$one") });
}

#[tokio::test]
async fn a_message_without_a_transaction_is_another_one_each_time() {
    let database = Database::with(&["one"]).await;
    let post = || {
        let AttachmentTarget::Transaction { room_id, event_type } = send("1", &[]).target else { unreachable!() };
        let target = AttachmentTarget::Message { room_id, event_type };
        BeginAttachment { method: "POST".to_owned(), target, ..send("1", &["one"]) }
    };
    let id = database.begun(post()).await;
    database.conclude(id, became("$one")).await;

    assert_eq!(database.begin(post()).await, BeginOutcome::Taken(mxc("one")));
}

#[tokio::test]
async fn an_event_of_the_stream_ends_the_unknown_request_that_sent_it() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(send("1", &["one", "two"])).await;
    database.conclude(id, UNKNOWN).await;

    assert_eq!(database.heal(seen("$one")).await, [mxc("one"), mxc("two")]);

    assert_eq!(database.audience("two").await, Audience::Event(event("$one")));
    assert_eq!(database.records.find_linked_event(&event("$one")).await.unwrap(), Some(linked()));
    assert_eq!(database.begin(send("1", &["one", "two"])).await, BeginOutcome::Finished { event_id: event("$one") });
    assert_eq!(database.heal(seen("$one")).await, [], "the same again");
}

#[tokio::test]
async fn a_transaction_of_the_stream_ends_it_too_and_says_where_the_event_was() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;

    assert_eq!(database.brings("example.org", seen("$one")).await, [mxc("one")]);

    assert_eq!(database.position("$one").await, Some(1));
}

#[tokio::test]
async fn where_an_event_was_is_known_whether_it_came_before_its_answer_or_after() {
    let database = Database::with(&["one", "two"]).await;
    let before = database.begun(send("1", &["one"])).await;
    database.brings("example.org", seen("$one")).await;
    database.conclude(before, became("$one")).await;

    let after = database.begun(set_avatar(&["two"])).await;
    database.conclude(after, became("$two")).await;
    database.brings("example.org", StreamEvent { event_type: "m.room.avatar".to_owned(), ..seen("$two") }).await;

    assert_eq!((database.position("$one").await, database.position("$two").await), (Some(1), Some(2)));
}

#[tokio::test]
async fn the_stream_of_another_server_does_not_say_where_an_event_was() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.brings("other.example", seen("$one")).await;

    database.conclude(id, became("$one")).await;

    assert_eq!(database.position("$one").await, None);
}

#[tokio::test]
async fn an_event_that_differs_in_anything_ends_nothing() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;
    let other_content = json!({ "msgtype": "m.image", "body": "dog.png" }).as_object().unwrap().clone();

    for other in [
        StreamEvent { room_id: RoomId::parse("!other:example.org").unwrap(), ..seen("$one") },
        StreamEvent { sender: bob(), ..seen("$one") },
        StreamEvent { event_type: "m.sticker".to_owned(), ..seen("$one") },
        StreamEvent { state_key: Some(String::new()), ..seen("$one") },
        StreamEvent { content: other_content, ..seen("$one") },
    ] {
        assert_eq!(database.heal(other.clone()).await, [], "{other:?}");
    }

    assert_eq!(database.audience("one").await, Audience::Attaching);
}

#[tokio::test]
async fn an_event_that_was_seen_while_its_request_was_under_way_ends_it_when_the_answer_is_lost() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;

    assert_eq!(database.heal(seen("$one")).await, []);
    assert_eq!(database.audience("one").await, Audience::Attaching);
    let concluded = database.conclude(id, UNKNOWN).await;

    assert_eq!(concluded, Concluded::Attached(vec![mxc("one")]));
    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
}

#[tokio::test]
async fn one_event_ends_one_request() {
    let database = Database::with(&["one", "two"]).await;
    for (txn, media) in [("1", "one"), ("2", "two")] {
        let id = database.begun(send(txn, &[media])).await;
        database.conclude(id, UNKNOWN).await;
    }

    assert_eq!(database.heal(seen("$one")).await, [mxc("one")]);
    assert_eq!(database.heal(seen("$one")).await, []);
    assert_eq!(database.heal(seen("$two")).await, [mxc("two")]);
}

#[tokio::test]
async fn the_avatar_of_a_new_room_is_found_without_knowing_the_room() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(create_room(&["one"])).await;
    database.conclude(id, UNKNOWN).await;
    let avatar = StreamEvent {
        event_type: "m.room.avatar".to_owned(),
        state_key: Some(String::new()),
        room_id: RoomId::parse("!new:example.org").unwrap(),
        ..seen("$avatar")
    };

    assert_eq!(database.heal(avatar).await, [mxc("one")]);

    let known = database.records.find_linked_event(&event("$avatar")).await.unwrap().unwrap();
    assert_eq!(known.room_id, Some(RoomId::parse("!new:example.org").unwrap()));
    assert_eq!(known.state_key.as_deref(), Some(""));
}

#[tokio::test]
async fn after_a_crash_nobody_knows_what_became_of_what_was_under_way() {
    let database = Database::with(&["one", "two", "three"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.begun(set_avatar(&["two"])).await;
    let finished = database.begun(send("3", &["three"])).await;
    database.conclude(finished, became("$three")).await;
    let avatar = StreamEvent { event_type: "m.room.avatar".to_owned(), state_key: Some(String::new()), ..seen("$two") };
    database.heal(avatar).await;

    let database = database.after_a_crash().await;

    assert_eq!(database.audience("one").await, Audience::Attaching);
    assert_eq!(database.audience("two").await, Audience::Event(event("$two")), "its event was seen before");
    assert_eq!(database.audience("three").await, Audience::Event(event("$three")));
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Begun { id, attempt: Attempt::Again });
}

#[tokio::test]
async fn a_request_ends_once() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;

    assert_eq!(database.conclude(id, UNKNOWN).await, Concluded::Over);
    assert_eq!(database.conclude(id, AttachmentOutcome::Free).await, Concluded::Over);

    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
}

#[tokio::test]
async fn what_stays_unknown_until_its_time_is_over_is_deleted() {
    let database = Database::with(&["one", "two", "attached"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;
    database.begun(send("2", &["two"])).await;
    let attached = database.begun(send("3", &["attached"])).await;
    database.conclude(attached, became("$one")).await;

    assert_eq!(database.end_unresolved(UNTIL - Duration::from_millis(1)).await, []);
    assert_eq!(database.end_unresolved(UNTIL).await, [mxc("one")]);

    assert!(database.records.find_media(&mxc("one")).await.unwrap().is_none());
    assert!(database.records.find_link(&mxc("one")).await.unwrap().is_none());
    assert!(database.records.find_media(&mxc("two")).await.unwrap().is_some(), "it is under way");
    assert!(database.records.find_media(&mxc("attached")).await.unwrap().is_some());
    // The journal has forgotten it, too.
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::NotTheirs(mxc("one")));
}

#[tokio::test]
async fn what_was_forwarded_a_moment_ago_is_not_deleted_yet() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, UNKNOWN).await;
    let end = EndUnresolved { now: UNTIL, settled_before: NOW - Duration::from_millis(1), limit: 100 };

    assert_eq!(database.records.end_unresolved(end).await.unwrap(), []);

    assert_eq!(database.audience("one").await, Audience::Attaching);
}

#[tokio::test]
async fn what_is_finished_is_forgotten_after_a_day_and_stays_attached() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;
    let end = NOW + ANSWERS_RETRIES;

    assert_eq!(database.records.forget_attachments(end - Duration::from_millis(1), 10).await.unwrap(), 0);
    assert_eq!(database.records.forget_attachments(end, 10).await.unwrap(), 1);

    assert_eq!(database.audience("one").await, Audience::Event(event("$one")));
    assert_eq!(database.begin(send("1", &["one"])).await, BeginOutcome::Taken(mxc("one")));
}

#[tokio::test]
async fn the_visibility_that_is_not_known_is_asked_for_until_it_is() {
    let database = Database::with(&["one", "two"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;
    let id = database.begun(send("2", &["two"])).await;
    let known = LinkedEvent { visibility: Some("joined".to_owned()), ..linked() };
    let outcome = AttachmentOutcome::Event { event_id: event("$two"), event: known, removal_due: LATER };
    database.conclude(id, outcome).await;
    let questions = async |now| database.records.visibility_questions(now, 10).await.unwrap();
    let question = VisibilityQuestion {
        event_id: event("$one"),
        room_id: RoomId::parse("!room:example.org").unwrap(),
        sender: alice(),
    };

    assert_eq!(questions(NOW).await, std::slice::from_ref(&question));
    database.records.learn_visibility(event("$one"), None, NOW).await.unwrap();
    assert_eq!(questions(NOW).await, [], "not at once again");
    assert_eq!(questions(NOW + Duration::from_mins(1)).await, [question]);
    database.records.learn_visibility(event("$one"), Some("shared".to_owned()), NOW).await.unwrap();

    assert_eq!(questions(LATER).await, []);
    let found = database.records.find_linked_event(&event("$one")).await.unwrap().unwrap();
    assert_eq!(found.visibility.as_deref(), Some("shared"));
}

#[tokio::test]
async fn a_question_without_an_answer_is_given_up_at_last() {
    let database = Database::with(&["one"]).await;
    let id = database.begun(send("1", &["one"])).await;
    database.conclude(id, became("$one")).await;

    for _ in 0..=30 {
        database.records.learn_visibility(event("$one"), None, NOW).await.unwrap();
    }

    assert_eq!(database.records.visibility_questions(Timestamp::NEVER, 10).await.unwrap(), []);
    assert_eq!(database.records.find_linked_event(&event("$one")).await.unwrap().unwrap().visibility, None);
}
