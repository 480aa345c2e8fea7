//! What the stream of an application service makes known of rooms, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use serde_json::{Value, json};
use tintype_domain::{EventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, Timestamp, UserId};
use tintype_storage::records::{
    ApplyState, ApplyTransaction, Interval, Membership, Naming, Presence, Records, RoomCounts, RoomToRead,
    StateOutcome, StreamEvent, TransactionOutcome,
};

use super::support::{self, Home};

/// The server of ours that is told.
const OURS: &str = "example.org";

struct Stream {
    records: Records,
    _folder: Home,
}

impl Stream {
    async fn new() -> Self {
        let (records, folder) = support::records().await;
        Self { records, _folder: folder }
    }

    async fn transaction(&self, tenant: &str, id: &str, events: &[Value]) -> TransactionOutcome {
        let events = events.iter().map(|event| StreamEvent::from_json(event.clone()).unwrap()).collect();
        let transaction = ApplyTransaction {
            tenant: server(tenant),
            transaction_id: id.to_owned(),
            events,
            now: Timestamp(1),
            naming: Naming::Ignored,
        };
        self.records.apply_transaction(transaction).await.unwrap()
    }

    /// A transaction of one event, which is its ID. Returns its position.
    async fn brings(&self, event: Value) -> i64 {
        let id = event["event_id"].as_str().unwrap().to_owned();
        self.transaction(OURS, &id, &[event]).await;
        self.position().await
    }

    async fn position(&self) -> i64 {
        self.records.stream_position(&server(OURS)).await.unwrap()
    }

    async fn presence(&self, of: &str) -> Presence {
        self.records.presence(&server(OURS), &room(), &server(of)).await.unwrap()
    }

    async fn joined(&self, of: &str) -> Vec<(i64, Option<i64>)> {
        intervals(&self.presence(of).await.joined)
    }

    async fn invited(&self, of: &str) -> Vec<(i64, Option<i64>)> {
        intervals(&self.presence(of).await.invited)
    }

    async fn to_read(&self) -> Vec<RoomToRead> {
        self.records.rooms_to_read(Timestamp(i64::MAX), 10).await.unwrap()
    }

    /// What has to be read, asked for now.
    async fn asks(&self) -> (RoomToRead, i64) {
        (self.to_read().await.remove(0), self.position().await)
    }

    async fn reads(&self, (room, asked_at): (RoomToRead, i64), state: &[Value]) -> StateOutcome {
        let state = state.iter().map(|event| StreamEvent::from_json(event.clone()).unwrap()).collect();
        self.records.apply_state(ApplyState { room, asked_at, state }).await.unwrap()
    }

    async fn membership(&self, of: &str) -> Option<Membership> {
        self.records.membership(&server(OURS), &room(), &user(of)).await.unwrap().map(|member| member.membership)
    }
}

fn server(name: &str) -> OwnedServerName {
    ServerName::parse(name).unwrap()
}

fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

fn room() -> OwnedRoomId {
    RoomId::parse("!room:example.org").unwrap()
}

fn intervals(intervals: &[Interval]) -> Vec<(i64, Option<i64>)> {
    intervals.iter().map(|interval| (interval.from, interval.until)).collect()
}

fn message(id: &str, sender: &str) -> Value {
    json!({
        "event_id": id, "room_id": room(), "sender": sender, "type": "m.room.encrypted", "content": { "a": 1 },
        "origin_server_ts": 1
    })
}

fn member(id: &str, who: &str, membership: &str) -> Value {
    json!({
        "event_id": id, "room_id": room(), "sender": who, "type": "m.room.member", "state_key": who,
        "content": { "membership": membership }
    })
}

fn visibility(id: &str, visibility: &str) -> Value {
    json!({
        "event_id": id, "room_id": room(), "sender": "@alice:example.org", "type": "m.room.history_visibility",
        "state_key": "", "content": { "history_visibility": visibility }
    })
}

const ALICE: &str = "@alice:example.org";
const BOB: &str = "@bob:example.org";
const XENIA: &str = "@xenia:x.example";
const XAVER: &str = "@xaver:x.example";
const YVES: &str = "@yves:y.example";

#[tokio::test]
async fn an_event_of_a_room_never_seen_asks_for_its_state_as_who_sent_it() {
    let stream = Stream::new().await;

    let position = stream.brings(message("$1", ALICE)).await;

    let expected = RoomToRead { tenant: server(OURS), room_id: room(), followed_since: position, failures: 0 };
    assert_eq!(stream.to_read().await, [expected]);
    let member = stream.records.a_joined_local_member(&server(OURS), &room()).await.unwrap();
    assert_eq!(member, Some(user(ALICE)));
    assert!(!stream.presence("x.example").await.room_is_known);
}

#[tokio::test]
async fn a_room_is_known_by_its_state_from_the_first_event_on() {
    let stream = Stream::new().await;
    let first = stream.brings(message("$1", ALICE)).await;
    stream.brings(message("$2", ALICE)).await;
    let asked = stream.asks().await;

    let outcome = stream
        .reads(asked, &[member("$a", ALICE, "join"), member("$x", XENIA, "join"), member("$y", YVES, "invite")])
        .await;

    assert_eq!(outcome, StateOutcome::Applied);
    let presence = stream.presence("x.example").await;
    assert!(presence.room_is_known && presence.was_joined_at(first) && !presence.was_joined_at(first - 1));
    assert_eq!(stream.joined("x.example").await, [(first, None)]);
    assert_eq!(stream.invited("y.example").await, [(first, None)]);
    assert_eq!(stream.joined("y.example").await, []);
    assert_eq!(stream.to_read().await, []);
    assert_eq!(stream.records.count_rooms().await.unwrap(), RoomCounts { known: 1, unknown: 0 });
}

#[tokio::test]
async fn servers_come_and_go_with_their_first_and_last_user() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let came = stream.brings(member("$x1", XENIA, "join")).await;
    stream.brings(member("$x2", XAVER, "join")).await;
    stream.brings(member("$x3", XENIA, "leave")).await;
    let went = stream.brings(member("$x4", XAVER, "ban")).await;
    let again = stream.brings(member("$x5", XENIA, "join")).await;

    let presence = stream.presence("x.example").await;

    assert_eq!(intervals(&presence.joined), [(came, Some(went)), (again, None)]);
    assert!(presence.was_joined_at(came) && presence.was_joined_at(went) && presence.is_joined());
    assert!(!presence.was_joined_at(came - 1));
}

#[tokio::test]
async fn an_invitation_that_is_accepted_ends_where_the_membership_begins() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let invited = stream.brings(member("$x1", XENIA, "invite")).await;
    let joined = stream.brings(member("$x2", XENIA, "join")).await;

    let presence = stream.presence("x.example").await;

    assert_eq!(intervals(&presence.invited), [(invited, Some(joined))]);
    assert_eq!(intervals(&presence.joined), [(joined, None)]);
    assert!(presence.was_joined_since(invited) && !presence.is_invited());
}

#[tokio::test]
async fn a_changed_profile_does_not_begin_anything_anew() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let joined = stream.brings(member("$x1", XENIA, "join")).await;

    stream.brings(member("$x2", XENIA, "join")).await;

    assert_eq!(stream.joined("x.example").await, [(joined, None)]);
}

#[tokio::test]
async fn all_that_goes_on_ends_when_the_last_local_user_leaves() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    stream.brings(member("$b", BOB, "join")).await;
    let joined = stream.brings(member("$x", XENIA, "join")).await;
    let invited = stream.brings(member("$y", YVES, "invite")).await;
    let asked = stream.asks().await;
    let state = [
        member("$a", ALICE, "join"),
        member("$b", BOB, "join"),
        member("$x", XENIA, "join"),
        member("$y", YVES, "invite"),
    ];
    stream.reads(asked, &state).await;
    stream.brings(member("$b2", BOB, "leave")).await;
    assert!(stream.presence("x.example").await.is_joined());

    let left = stream.brings(member("$a2", ALICE, "leave")).await;

    assert_eq!(stream.joined("x.example").await, [(joined, Some(left))]);
    assert_eq!(stream.invited("y.example").await, [(invited, Some(left))]);
    assert!(!stream.presence("x.example").await.room_is_known);
    assert_eq!(stream.records.room_visibility(&server(OURS), &room()).await.unwrap(), None);
    assert_eq!(stream.membership(XENIA).await, None);
    assert_eq!(stream.membership(ALICE).await, Some(Membership::Leave));
    assert_eq!(stream.to_read().await, []);
}

#[tokio::test]
async fn a_local_join_that_ends_an_absence_asks_for_the_state_again() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let asked = stream.asks().await;
    stream.reads(asked, &[member("$a", ALICE, "join"), member("$x", XENIA, "join")]).await;
    let left = stream.brings(member("$a2", ALICE, "leave")).await;
    let back = stream.brings(member("$a3", ALICE, "join")).await;
    let asked = stream.asks().await;

    stream.reads(asked, &[member("$a3", ALICE, "join"), member("$y", YVES, "join")]).await;

    assert_eq!(stream.joined("x.example").await, [(1, Some(left))]);
    assert_eq!(stream.joined("y.example").await, [(back, None)]);
}

#[tokio::test]
async fn an_invitation_of_a_local_user_makes_no_room_followed() {
    let stream = Stream::new().await;
    let mut invite = member("$1", ALICE, "invite");
    invite["sender"] = XENIA.into();
    invite["unsigned"] = json!({ "invite_room_state": [
        { "type": "m.room.avatar", "state_key": "", "sender": XENIA, "content": { "url": "mxc://x.example/room" } },
        { "type": "m.room.member", "state_key": XENIA, "sender": XENIA, "event_id": "$x",
          "content": { "membership": "join", "avatar_url": "mxc://x.example/face" } },
        { "type": "m.room.name" },
    ] });

    stream.brings(invite).await;

    assert_eq!(stream.to_read().await, []);
    let alice = stream.records.membership(&server(OURS), &room(), &user(ALICE)).await.unwrap().unwrap();
    assert_eq!((alice.membership, alice.sender), (Membership::Invite, Some(user(XENIA))));
    let shown: Vec<_> = alice.stripped.iter().map(|state| (state.event_type.as_str(), state.avatar.clone())).collect();
    let avatar = |id: &str| Some(format!("mxc://x.example/{id}").parse().unwrap());
    assert_eq!(shown, [("m.room.avatar", avatar("room")), ("m.room.member", avatar("face"))]);
    assert_eq!(alice.stripped[1].event_id.as_deref().map(EventId::as_str), Some("$x"));
}

#[tokio::test]
async fn a_room_that_nobody_of_ours_was_seen_in_waits_for_somebody() {
    let stream = Stream::new().await;
    let first = stream.brings(message("$1", XENIA)).await;
    assert_eq!(stream.to_read().await, []);

    stream.brings(message("$2", ALICE)).await;

    assert_eq!(stream.to_read().await[0].followed_since, first);
}

#[tokio::test]
async fn an_event_that_came_after_the_state_was_asked_for_counts_more() {
    let stream = Stream::new().await;
    let first = stream.brings(message("$1", ALICE)).await;
    let asked = stream.asks().await;
    let left = stream.brings(member("$x2", XENIA, "leave")).await;
    stream.brings(visibility("$v2", "joined")).await;
    let came = stream.brings(member("$y2", YVES, "join")).await;

    let state = [
        member("$a", ALICE, "join"),
        member("$x1", XENIA, "join"),
        member("$y1", YVES, "leave"),
        visibility("$v1", "world_readable"),
    ];
    stream.reads(asked, &state).await;

    assert!(!stream.presence("x.example").await.is_joined(), "left at {left}, followed from {first}");
    assert_eq!(stream.joined("y.example").await, [(came, None)]);
    let visibility = stream.records.room_visibility(&server(OURS), &room()).await.unwrap();
    assert_eq!(visibility.as_deref(), Some("joined"));
}

#[tokio::test]
async fn a_membership_in_the_state_that_the_stream_brings_later_began_only_then() {
    let stream = Stream::new().await;
    stream.brings(message("$1", ALICE)).await;
    let asked = stream.asks().await;
    stream.reads(asked, &[member("$a", ALICE, "join"), member("$x", XENIA, "join")]).await;
    let unseen = stream.brings(message("$2", ALICE)).await;

    let joined = stream.brings(member("$x", XENIA, "join")).await;

    assert_eq!(stream.joined("x.example").await, [(joined, None)]);
    assert!(!stream.presence("x.example").await.was_joined_at(unseen));
}

#[tokio::test]
async fn what_began_while_the_state_was_asked_for_reaches_back_to_who_was_there() {
    let stream = Stream::new().await;
    let first = stream.brings(message("$1", ALICE)).await;
    let asked = stream.asks().await;
    stream.brings(member("$x2", XAVER, "join")).await;

    stream.reads(asked, &[member("$a", ALICE, "join"), member("$x1", XENIA, "join")]).await;

    assert_eq!(stream.joined("x.example").await, [(first, None)]);
}

#[tokio::test]
async fn an_event_that_the_state_does_not_confirm_ends_where_it_was_asked_for() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let joined = stream.brings(member("$x", XENIA, "join")).await;
    let asked = stream.asks().await;

    stream.reads(asked, &[member("$a", ALICE, "join")]).await;

    assert_eq!(stream.joined("x.example").await, [(joined, Some(joined))]);
}

#[tokio::test]
async fn a_state_that_was_asked_for_before_everybody_left_counts_nothing() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let asked = stream.asks().await;
    stream.brings(member("$a2", ALICE, "leave")).await;
    stream.brings(member("$a3", ALICE, "join")).await;

    let outcome = stream.reads(asked, &[member("$a", ALICE, "join"), member("$x", XENIA, "join")]).await;

    assert_eq!(outcome, StateOutcome::Outdated);
    assert_eq!(stream.joined("x.example").await, []);
    assert!(!stream.presence("x.example").await.room_is_known);
    assert_eq!(stream.to_read().await.len(), 1);
}

#[tokio::test]
async fn who_left_long_ago_is_not_kept() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let asked = stream.asks().await;
    stream.reads(asked, &[member("$a", ALICE, "join"), member("$x", XENIA, "ban"), member("$b", BOB, "leave")]).await;

    assert_eq!(stream.membership(XENIA).await, None);
    assert_eq!(stream.membership(BOB).await, Some(Membership::Leave));
}

#[tokio::test]
async fn a_large_state_is_written_in_pieces_and_all_of_it_counts() {
    let stream = Stream::new().await;
    let first = stream.brings(member("$a", ALICE, "join")).await;
    let asked = stream.asks().await;
    let mut state = vec![member("$a", ALICE, "join")];
    state.extend((0..1200).map(|number| member(&format!("${number}"), &format!("@u:s{number}.example"), "join")));

    stream.reads(asked, &state).await;

    assert_eq!(stream.joined("s0.example").await, [(first, None)]);
    assert_eq!(stream.joined("s1199.example").await, [(first, None)]);
}

#[tokio::test]
async fn a_visibility_that_nobody_said_is_shared_and_one_that_nobody_knows_hides_the_most() {
    let stream = Stream::new().await;
    stream.brings(member("$a", ALICE, "join")).await;
    let asked = stream.asks().await;
    stream.reads(asked, &[member("$a", ALICE, "join")]).await;
    let shared = stream.records.room_visibility(&server(OURS), &room()).await.unwrap();

    stream.brings(visibility("$v", "whatever")).await;

    assert_eq!(shared.as_deref(), Some("shared"));
    let unknown = stream.records.room_visibility(&server(OURS), &room()).await.unwrap();
    assert_eq!(unknown.as_deref(), Some("joined"));
}

#[tokio::test]
async fn a_repeated_transaction_changes_nothing() {
    let stream = Stream::new().await;
    let events = [member("$a", ALICE, "join"), member("$x", XENIA, "join")];
    stream.transaction(OURS, "1", &events).await;

    let outcome = stream.transaction(OURS, "1", &events).await;

    assert_eq!(outcome, TransactionOutcome::Repeated);
    assert_eq!(stream.position().await, 2);
}

#[tokio::test]
async fn the_same_id_with_other_events_is_another_transaction() {
    let stream = Stream::new().await;
    stream.transaction(OURS, "1", &[member("$a", ALICE, "join")]).await;

    let outcome = stream.transaction(OURS, "1", &[member("$x", XENIA, "join")]).await;

    assert!(matches!(outcome, TransactionOutcome::Applied(_)));
    assert_eq!(stream.joined("x.example").await, [(2, None)]);
}

#[tokio::test]
async fn each_of_our_servers_knows_by_itself() {
    let stream = Stream::new().await;
    let other = "other.example";
    stream.transaction(OURS, "1", &[member("$a", ALICE, "join"), member("$o", "@o:other.example", "join")]).await;

    let outcome = stream.transaction(other, "1", &[member("$o", "@o:other.example", "join")]).await;

    assert!(matches!(outcome, TransactionOutcome::Applied(_)));
    assert_eq!(stream.joined(other).await, [(2, None)]);
    let theirs = stream.records.presence(&server(other), &room(), &server(OURS)).await.unwrap();
    assert_eq!(theirs, Presence::default());
    let member = stream.records.a_joined_local_member(&server(other), &room()).await.unwrap();
    assert_eq!(member, Some(user("@o:other.example")));
    assert_eq!(stream.records.stream_position(&server(other)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_state_that_could_not_be_read_is_read_again_at_its_time() {
    let stream = Stream::new().await;
    stream.brings(message("$1", ALICE)).await;
    let (asked, _) = stream.asks().await;

    stream.records.room_was_not_read(asked, Some(Timestamp(500))).await.unwrap();
    stream.brings(message("$2", ALICE)).await;

    assert_eq!(stream.records.rooms_to_read(Timestamp(499), 10).await.unwrap(), []);
    assert_eq!(stream.records.next_room_to_read().await.unwrap(), Some(Timestamp(500)));
    assert_eq!(stream.to_read().await[0].failures, 1);
}

#[test]
fn what_an_event_redacts_is_read_wherever_it_is_said() {
    let redaction = |at_the_top: bool| {
        let mut event = message("$1", ALICE);
        let place = if at_the_top { &mut event } else { &mut event["content"] };
        place["redacts"] = "$2".into();
        StreamEvent::from_json(event).unwrap().redacts
    };

    assert_eq!(redaction(true).as_deref().map(EventId::as_str), Some("$2"));
    assert_eq!(redaction(false), redaction(true));
}

#[test]
fn what_lacks_what_every_event_has_is_none() {
    for field in ["event_id", "room_id", "sender", "type", "content"] {
        let mut event = message("$1", ALICE);
        event.as_object_mut().unwrap().remove(field);

        assert!(StreamEvent::from_json(event).is_err(), "{field}");
    }
}
