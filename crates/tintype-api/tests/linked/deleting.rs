//! Redactions and erasure: what goes, when, and what does not.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tintype_domain::{Audience, Mxc};
use tintype_testing::{Client, FakeHomeserver, TestServer, linked::Event, paths, pattern, pictures, until};

const ALICE: &str = "@alice:example.org";
const BOB: &str = "@bob:example.org";
const ROOM: &str = "!room:example.org";
const EVENT: &str = "$event";
const EVENT_PATH: &str = "/_matrix/client/v3/rooms/%21room%3Aexample.org/event/%24event";
const GRACE: Duration = Duration::from_hours(7 * 24);
const SWEEP: Duration = Duration::from_mins(1);

/// A server beside a homeserver whose application service it is, and two users who are in a room.
struct World {
    homeserver: FakeHomeserver,
    server: TestServer,
    alice: Client,
    bob: Client,
}

impl World {
    async fn with(config: &str) -> Self {
        let homeserver = FakeHomeserver::start().await;
        homeserver.log_in("alice", "alice_token");
        homeserver.log_in("bob", "bob_token");
        let tokens = "appservice_token = 'as-secret'\nhomeserver_token = 'hs-secret'\npass_through = true\n";
        let server = TestServer::with(&format!("{config}\n{}{tokens}", homeserver.config())).await;
        let (alice, bob) = (server.anonymous().with_token("alice_token"), server.anonymous().with_token("bob_token"));
        let world = Self { homeserver, server, alice, bob };
        world.stream(&[member("$alice", ALICE, "join"), member("$bob", BOB, "join")]).await;
        world.shows(&event());
        world
    }

    /// A picture of Alice's that belongs to a message of hers.
    async fn picture(&self) -> Mxc {
        let mxc = self.restricted().await;
        self.server.attach_to_event(&mxc, message()).await;
        mxc
    }

    async fn restricted(&self) -> Mxc {
        self.server.store_restricted("mxc://example.org/picture", ALICE, pictures::jpeg(100, 80), "image/jpeg").await
    }

    /// The homeserver shows the event so, to everybody.
    fn shows(&self, event: &Value) {
        self.homeserver.answers(Method::GET, EVENT_PATH, 200, event);
    }

    /// The homeserver tells of events, and is told that they are committed.
    async fn stream(&self, events: &[Value]) {
        let path = format!("/_matrix/app/v1/transactions/{}", events[0]["event_id"].as_str().unwrap_or_default());
        let body = json!({ "events": events }).to_string();
        let answer = self.server.anonymous().with_token("hs-secret").request(Method::PUT, path).body(body).await;
        assert_eq!(answer.status(), 200);
    }

    /// How somebody is answered who asks for this media.
    /// The status of a download; 0 if it was cut before it was answered.
    async fn status(&self, client: &Client, mxc: &Mxc) -> u16 {
        client.get(paths::download(mxc)).status().await.unwrap_or(0)
    }

    async fn is_unreadable(&self, mxc: &Mxc) -> bool {
        self.status(&self.alice, mxc).await == 404 && self.status(&self.bob, mxc).await == 404
    }
}

fn message() -> Event<'static> {
    Event { id: EVENT, room: Some(ROOM), sender: Some(ALICE), kind: Some("m.room.message"), state_key: None }
}

/// The message as the homeserver shows it.
fn event() -> Value {
    json!({ "event_id": EVENT, "room_id": ROOM, "type": "m.room.message", "sender": ALICE, "content": {} })
}

fn redacted_event() -> Value {
    let mut event = event();
    event["unsigned"] = json!({ "redacted_because": { "event_id": "$redaction", "type": "m.room.redaction" } });
    event
}

fn redaction(sender: &str) -> Value {
    json!({
        "event_id": "$redaction", "room_id": ROOM, "type": "m.room.redaction", "sender": sender,
        "content": { "redacts": EVENT }
    })
}

fn member(id: &str, user: &str, membership: &str) -> Value {
    json!({
        "event_id": id, "room_id": ROOM, "sender": user, "type": "m.room.member", "state_key": user,
        "content": { "membership": membership }
    })
}

#[tokio::test]
async fn what_its_sender_redacts_is_unreadable_when_the_transaction_is_acknowledged_and_gone_after_the_grace() {
    let world = World::with("").await;
    let mxc = world.picture().await;
    let same = world.bob.post(paths::UPLOAD).body(pictures::jpeg(100, 80)).await.mxc();
    assert_eq!(world.status(&world.bob, &mxc).await, 200);

    world.stream(&[redaction(ALICE)]).await;

    for client in [&world.alice, &world.bob] {
        assert_eq!(client.get(paths::download(&mxc)).await.error(), (404, "M_NOT_FOUND".to_owned()));
        assert_eq!(client.head(paths::download(&mxc)).await.status(), 404);
        assert_eq!(client.get(paths::thumbnail(&mxc, "width=8&height=8")).await.status(), 404);
    }
    assert!(world.server.is_recorded(&mxc).await, "the bytes are there for the grace");
    world.server.advance(GRACE + SWEEP);
    until("the media is removed", async || !world.server.is_recorded(&mxc).await).await;
    assert!(world.is_unreadable(&mxc).await);
    assert_eq!(world.status(&world.alice, &same).await, 200, "other media with the same bytes stays");
    until("it is counted", async || world.server.metric("tintype_redacted_media_removed_total").await == 1).await;
}

#[tokio::test]
async fn a_download_under_way_is_cut() {
    let world = World::with("").await;
    let mxc = world.alice.post(paths::RESTRICTED_UPLOAD).body(pattern(64 * 1024 * 1024)).await.mxc();
    world.server.attach_to_event(&mxc, message()).await;
    let mut download = world.bob.get(paths::download(&mxc)).open().await;
    download.bytes(1).await;

    world.stream(&[redaction(ALICE)]).await;

    // What was in the buffers of the connection on the way comes through, and no more.
    let rest = download.aborted().await;
    assert!(rest.len() < 32 * 1024 * 1024, "{} bytes came", rest.len());
}

#[tokio::test]
async fn without_grace_it_is_gone_at_once() {
    let world = World::with("linked.redaction_grace = '0s'").await;
    let mxc = world.picture().await;

    world.stream(&[redaction(ALICE)]).await;

    assert!(!world.server.is_recorded(&mxc).await);
    assert!(world.is_unreadable(&mxc).await);
}

#[tokio::test]
async fn a_strangers_redaction_deletes_nothing() {
    let world = World::with("").await;
    let mxc = world.picture().await;

    world.stream(&[redaction("@mallory:elsewhere.example")]).await;

    until("it is given up", async || {
        world.server.advance(Duration::from_mins(3));
        world.server.metric("tintype_redactions_rejected_total").await == 1
    })
    .await;
    assert_eq!(world.status(&world.bob, &mxc).await, 200);
    assert!(world.server.is_recorded(&mxc).await);
    assert_eq!(world.server.metric("tintype_redactions_applied_total").await, 0);
}

#[tokio::test]
async fn a_moderators_redaction_counts_as_soon_as_the_homeserver_has_applied_it() {
    let world = World::with("").await;
    let mxc = world.picture().await;
    // It has not come to it yet.
    world.stream(&[redaction(BOB)]).await;
    assert_eq!(world.status(&world.bob, &mxc).await, 200);
    let as_alice = "user_id=%40alice%3Aexample.org";
    let asked = async || world.homeserver.asked().iter().any(|asked| asked.target.contains(as_alice));
    until("the homeserver is asked as the sender", asked).await;

    // For whoever asks as the application service, so that nobody else is told.
    world.homeserver.answers_to(Method::GET, EVENT_PATH, Some("as-secret"), 200, &redacted_event());
    world.server.advance(Duration::from_secs(1));

    until("the redaction counts", async || world.is_unreadable(&mxc).await).await;
    assert_eq!(world.server.metric("tintype_redactions_applied_total").await, 1);
}

#[tokio::test]
async fn a_homeserver_that_is_away_is_asked_again() {
    let world = World::with("").await;
    let mxc = world.picture().await;
    let answers = |status, body: &Value| {
        world.homeserver.answers_to(Method::GET, EVENT_PATH, Some("as-secret"), status, body);
    };
    answers(502, &json!({}));
    world.stream(&[redaction(BOB)]).await;
    let before = Duration::from_hours(24);
    until("it is pending", async || world.server.metric("tintype_redactions_pending").await == 1).await;
    world.server.advance(before);
    assert_eq!(world.status(&world.bob, &mxc).await, 200);

    answers(200, &redacted_event());

    until("the redaction counts", async || {
        world.server.advance(Duration::from_mins(1));
        world.is_unreadable(&mxc).await
    })
    .await;
}

#[tokio::test]
async fn what_is_linked_to_an_event_after_its_redaction_is_never_shown() {
    let world = World::with("").await;
    world.shows(&redacted_event());
    world.stream(&[redaction(ALICE)]).await;
    until("it is decided", async || world.server.metric("tintype_redactions_applied_total").await == 1).await;
    let mxc = world.restricted().await;
    world.shows(&event());

    world.server.attach_to_event(&mxc, message()).await;

    assert!(world.is_unreadable(&mxc).await);
}

#[tokio::test]
async fn copies_of_other_servers_media_go_with_the_redaction() {
    let world = World::with("").await;
    let theirs: Mxc = "mxc://elsewhere.example/picture".parse().unwrap();
    let carol = "@carol:elsewhere.example";
    world.server.know_event(Event { sender: Some(carol), ..message() }).await;
    let audience = Audience::Event(EVENT.try_into().unwrap());
    world.server.keep_remote(&theirs, audience, pictures::jpeg(100, 80), "image/jpeg").await;
    assert_eq!(world.status(&world.bob, &theirs).await, 200);

    world.stream(&[redaction(carol)]).await;

    assert!(!world.server.is_kept(&theirs).await);
}

#[tokio::test]
async fn copies_of_other_servers_media_go_a_while_after_the_last_of_us_has_left() {
    let world = World::with("").await;
    let theirs: Mxc = "mxc://elsewhere.example/picture".parse().unwrap();
    world.server.know_event(message()).await;
    let audience = Audience::Event(EVENT.try_into().unwrap());
    world.server.keep_remote(&theirs, audience, pictures::jpeg(100, 80), "image/jpeg").await;
    world.stream(&[member("$1", ALICE, "leave")]).await;
    world.server.advance(Duration::from_hours(25));
    world.stream(&[member("$2", BOB, "leave")]).await;
    assert!(world.server.is_kept(&theirs).await);

    world.server.advance(Duration::from_hours(25));

    until("the copy is gone", async || !world.server.is_kept(&theirs).await).await;
}

/// An ordinary upload of Alice's, a message of hers that names it, and the redaction of that.
async fn named(world: &World) -> Mxc {
    world.server.advance(Duration::from_secs(1));
    let mxc = world.alice.post(paths::UPLOAD).body("a picture").await.mxc();
    assert_eq!(world.status(&world.bob, &mxc).await, 200, "it is remembered from now on");
    let mut message = event();
    message["content"] = json!({ "msgtype": "m.image", "body": "cat.png", "url": mxc.to_string() });
    world.stream(&[message]).await;
    world.stream(&[redaction(ALICE)]).await;
    until("it is decided", async || world.server.metric("tintype_redactions_applied_total").await == 1).await;
    mxc
}

#[tokio::test]
async fn media_that_is_attached_to_nothing_goes_with_the_message_that_named_it_if_that_is_wanted() {
    for (fate, status) in [("delete", 404), ("keep", 200)] {
        let world = World::with(&format!("linked.unlinked_redaction = '{fate}'")).await;
        let mxc = named(&world).await;
        let linked = world.restricted().await;
        world.server.attach_to_event(&linked, message()).await;
        assert_eq!(world.status(&world.bob, &mxc).await, 200, "{fate}: there is a grace");

        world.server.advance(GRACE + SWEEP);

        until("the sweep is over", async || !world.server.is_recorded(&linked).await).await;
        until("it is settled", async || world.status(&world.bob, &mxc).await == status).await;
        assert_eq!(world.server.is_recorded(&mxc).await, fate == "keep");
    }
}

#[tokio::test]
async fn the_avatar_of_its_uploader_stays() {
    let world = World::with("linked.unlinked_redaction = 'delete'").await;
    let mxc = named(&world).await;
    let profile = "/_matrix/client/v3/profile/%40alice%3Aexample.org";
    world.homeserver.answers(Method::GET, profile, 200, &json!({ "avatar_url": mxc.to_string() }));

    world.server.advance(GRACE + SWEEP);

    let asked = async || world.homeserver.asked().iter().any(|asked| asked.target.starts_with(profile));
    until("the profile is looked at", asked).await;
    // It is looked at once: then the media is settled.
    world.homeserver.answers(Method::GET, profile, 200, &json!({}));
    world.server.advance(10 * SWEEP);
    assert_eq!(world.status(&world.bob, &mxc).await, 200);
}

#[tokio::test]
async fn who_deactivates_their_account_and_wants_everything_gone_is_erased() {
    let path = "/_matrix/client/v3/account/deactivate";
    for (answer, erase, gone) in [(200, true, true), (200, false, false), (401, true, false)] {
        let world = World::with("").await;
        world.homeserver.answers(Method::POST, path, answer, &json!({ "errcode": "M_FORBIDDEN", "error": "No" }));
        let mxc = world.alice.post(paths::UPLOAD).body("a picture").await.mxc();
        assert_eq!(world.status(&world.bob, &mxc).await, 200);

        let body = json!({ "erase": erase }).to_string();
        assert_eq!(world.alice.post(path).body(body).await.status(), answer);

        if gone {
            until("the media is gone", async || world.status(&world.bob, &mxc).await == 404).await;
            until("it is counted", async || world.server.metric("tintype_erasures_total").await == 1).await;
        } else {
            assert_eq!(world.status(&world.bob, &mxc).await, 200);
            assert_eq!(world.server.metric("tintype_erasures_total").await, 0);
        }
    }
}
