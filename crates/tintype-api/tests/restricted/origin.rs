//! Linked media as other servers ask for it: whom it is for is told with it, and who may not see the event is refused.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tintype_domain::{Mxc, ServerName};
use tintype_testing::{
    Client, FakeHomeserver, Peer, Response, TestServer,
    linked::{Event, Presence},
    paths, pictures, tls, until,
};

use super::{invisible, not_found, restricted};
use crate::federation::{ask, pair};

const ROOM: &str = "!room:theirs.example";
const EVENT: Event<'static> =
    Event { id: "$event", room: Some(ROOM), sender: None, kind: Some("m.room.message"), state_key: None };
const AVATAR: Event<'static> = Event { id: "$avatar", kind: Some("m.room.avatar"), state_key: Some(""), ..EVENT };

/// Where in the stream the event is.
const AT: i64 = 100;

/// Two servers, of which the second has a picture that is attached to this event.
struct Scene {
    ours: TestServer,
    theirs: TestServer,
    bob: Client,
    mxc: Mxc,
}

impl Scene {
    async fn new(config: &str) -> Self {
        let (ours, theirs, _, bob) = Box::pin(pair("", config)).await;
        let mxc = restricted(&bob, pictures::jpeg(64, 64)).await;
        Self { ours, theirs, bob, mxc }
    }

    /// With the picture attached to an event of which everything is known, in a room of which everything is known.
    async fn attached_to(event: Event<'_>, visibility: &str) -> Self {
        let scene = Box::pin(Self::new("")).await;
        scene.theirs.attach_to_event(&scene.mxc, event).await;
        scene.theirs.place_event(event.id, Some(visibility), Some(AT)).await;
        scene.theirs.know_room(ROOM).await;
        scene
    }

    /// The asking server had somebody in the room from one position to another.
    async fn present(&self, presence: Presence, from: i64, until: Option<i64>) {
        self.theirs.place_server(ROOM, self.ours.name(), presence, from, until).await;
    }

    fn path(&self) -> String {
        format!("/_matrix/federation/v1/media/download/{}?timeout_ms=0", self.mxc.media_id)
    }

    /// What the asking server is answered.
    async fn answer(&self) -> Response {
        ask(&self.ours, &self.theirs, &self.path()).await
    }
}

/// The JSON part of an answer.
fn metadata(answer: &Response) -> Value {
    assert_eq!(answer.status(), 200, "{answer:?}");
    let text = String::from_utf8_lossy(answer.bytes()).into_owned();
    let line = text.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.expect("there is a first part")).expect("it is JSON")
}

#[tokio::test]
async fn a_server_with_somebody_in_the_room_is_given_it_and_told_whom_it_is_for() {
    let restrictions = json!({ "event_id": "$event" });
    for (config, expected) in [
        ("", json!({ "org.matrix.msc3911.restrictions": restrictions, "restrictions": restrictions })),
        ("proposals.stable = []", json!({ "org.matrix.msc3911.restrictions": restrictions })),
    ] {
        let scene = Scene::new(config).await;
        scene.theirs.attach_to_event(&scene.mxc, EVENT).await;
        scene.theirs.place_event(EVENT.id, Some("joined"), Some(AT)).await;
        scene.theirs.know_room(ROOM).await;
        scene.present(Presence::Joined, 1, None).await;

        let download = scene.answer().await;
        let path = format!("/_matrix/federation/v1/media/thumbnail/{}?width=32&height=32", scene.mxc.media_id);
        let thumbnail = ask(&scene.ours, &scene.theirs, &path).await;

        assert_eq!((metadata(&download), metadata(&thumbnail)), (expected.clone(), expected));
        assert_eq!(download.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_server_with_nobody_in_the_room_is_refused() {
    for visibility in ["shared", "invited", "joined", "org.example.odd"] {
        let scene = Scene::attached_to(EVENT, visibility).await;

        let refused = scene.answer().await;

        assert_eq!(refused.error(), invisible(), "{visibility}");
        assert_eq!(refused.header("cache-control"), "no-store");
        let path = format!("/_matrix/federation/v1/media/thumbnail/{}?width=32&height=32", scene.mxc.media_id);
        assert_eq!(ask(&scene.ours, &scene.theirs, &path).await.error(), invisible(), "{visibility}");
        assert_eq!(scene.theirs.metric("tintype_servers_refused_total").await, 2);
    }
    let scene = Scene::attached_to(EVENT, "world_readable").await;
    assert_eq!(scene.answer().await.status(), 200);
}

#[tokio::test]
async fn who_was_there_when_decides_by_the_visibility() {
    use Presence::{Invited, Joined};
    for (visibility, presence, from, until, status) in [
        ("joined", Joined, 1, Some(AT), 200),
        ("joined", Joined, AT + 1, None, 403),
        ("joined", Joined, 1, Some(AT - 1), 403),
        ("joined", Invited, 1, None, 403),
        ("invited", Invited, 1, Some(AT), 200),
        ("invited", Invited, AT + 1, None, 403),
        ("invited", Joined, AT + 1, None, 403),
        ("shared", Joined, AT + 1, Some(AT + 2), 200),
        ("shared", Joined, 1, Some(AT - 1), 403),
        ("shared", Invited, 1, None, 403),
    ] {
        let scene = Scene::attached_to(EVENT, visibility).await;
        scene.present(presence, from, until).await;

        assert_eq!(scene.answer().await.status(), status, "{visibility}, {presence:?} from {from} to {until:?}");
    }
}

#[tokio::test]
async fn state_events_are_for_those_too_who_came_later() {
    for presence in [Presence::Joined, Presence::Invited] {
        let scene = Scene::attached_to(AVATAR, "joined").await;
        scene.present(presence, AT + 1, None).await;
        assert_eq!(scene.answer().await.status(), 200, "{presence:?}");

        let scene = Scene::attached_to(AVATAR, "joined").await;
        scene.present(presence, AT + 1, Some(AT + 2)).await;
        assert_eq!(scene.answer().await.error(), invisible(), "{presence:?}, and left");
    }
}

#[tokio::test]
async fn avatars_of_profiles_are_for_any_server() {
    let scene = Scene::new("proposals.stable = []").await;
    let bob = format!("@bob:{}", scene.theirs.name());
    scene.theirs.attach_to_profile(&scene.mxc, &bob).await;

    let answer = scene.answer().await;

    assert_eq!(metadata(&answer), json!({ "org.matrix.msc3911.restrictions": { "profile_user_id": bob } }));
}

#[tokio::test]
async fn what_is_attached_to_nothing_is_refused_and_what_is_redacted_is_gone() {
    let scene = Scene::new("").await;
    assert_eq!(scene.answer().await.error(), invisible());

    scene.theirs.attach_to_event(&scene.mxc, EVENT).await;
    scene.theirs.place_event(EVENT.id, Some("world_readable"), Some(AT)).await;
    assert_eq!(scene.answer().await.status(), 200);
    scene.theirs.redact(EVENT.id).await;

    assert_eq!(scene.answer().await.error(), not_found());
    assert_eq!(scene.bob.get(paths::download(&scene.mxc)).await.error(), not_found());
}

#[tokio::test]
async fn what_is_not_known_yet_is_waited_for_and_what_stays_unknown_is_not_shown() {
    // What is missing, and what brings it.
    let scene = Scene::new("").await;
    scene.theirs.attach_to_event(&scene.mxc, EVENT).await;
    scene.present(Presence::Joined, 1, None).await;
    let path = scene.path().replace("timeout_ms=0", "timeout_ms=5000");

    let at_once = scene.answer().await;
    let in_vain = scene.theirs.waiting(ask(&scene.ours, &scene.theirs, &path)).await;
    scene.theirs.advance(std::time::Duration::from_secs(5));
    assert_eq!((at_once.error(), in_vain.await.error()), (invisible(), invisible()));

    let waiting = scene.theirs.waiting(ask(&scene.ours, &scene.theirs, &path)).await;
    scene.theirs.place_event(EVENT.id, Some("joined"), Some(AT)).await;
    scene.theirs.advance(std::time::Duration::from_secs(5));

    assert_eq!(waiting.await.status(), 200);
}

#[tokio::test]
async fn what_is_being_attached_is_waited_for() {
    let scene = Scene::new("").await;
    scene.theirs.begin_to_attach(&scene.mxc).await;
    let path = scene.path().replace("timeout_ms=0", "timeout_ms=5000");
    assert_eq!(scene.answer().await.error(), invisible());

    let waiting = scene.theirs.waiting(ask(&scene.ours, &scene.theirs, &path)).await;
    scene.theirs.attach_to_event(&scene.mxc, EVENT).await;
    scene.theirs.place_event(EVENT.id, Some("world_readable"), Some(AT)).await;
    scene.theirs.advance(std::time::Duration::from_secs(5));

    assert_eq!(waiting.await.status(), 200);
}

#[tokio::test]
async fn in_a_room_that_is_not_known_only_what_is_known_counts() {
    let scene = Scene::new("").await;
    scene.theirs.attach_to_event(&scene.mxc, EVENT).await;
    scene.theirs.place_event(EVENT.id, Some("joined"), Some(AT)).await;
    assert_eq!(scene.answer().await.error(), invisible());

    scene.present(Presence::Joined, 1, None).await;

    assert_eq!(scene.answer().await.status(), 200);
}

#[tokio::test]
async fn somebody_elses_presence_does_not_count() {
    let scene = Scene::attached_to(EVENT, "joined").await;
    let other = "other.example".try_into().unwrap();
    scene.theirs.place_server(ROOM, &other, Presence::Joined, 1, None).await;
    scene.theirs.place_server("!elsewhere:theirs.example", scene.ours.name(), Presence::Joined, 1, None).await;

    assert_eq!(scene.answer().await.error(), invisible());
}

/// The homeserver tells its application service of these events.
async fn tells(server: &TestServer, transaction: &str, events: &[Value]) {
    let path = format!("/_matrix/app/v1/transactions/{transaction}");
    let body = json!({ "events": events }).to_string();
    let told = server.anonymous().with_token("hs").request(Method::PUT, path).body(body).await;
    assert_eq!(told.status(), 200, "{told:?}");
}

#[tokio::test]
async fn the_stream_wakes_who_waits_for_what_it_brings() {
    let (peer, homeserver, folder) =
        (Peer::start("theirs").await, FakeHomeserver::start().await, TempDir::new().unwrap());
    let authority = folder.path().join("authority.pem");
    fs::write(&authority, tls::authority_pem()).unwrap();
    homeserver.log_in("alice", "alice");
    let reach = format!(
        "federation.allow_addresses = ['127.0.0.0/8', '::1/128']\nfederation.extra_ca_files = ['{}']\n",
        authority.display()
    );
    let tokens = "appservice_token = 'as'\nhomeserver_token = 'hs'\n";
    let server = TestServer::with(&format!("{reach}{}{tokens}", homeserver.config())).await;
    let mxc = restricted(&server.anonymous().with_token("alice"), "hello").await;
    let (alice, bob) = ("@alice:example.org".to_owned(), format!("@bob:{}", peer.name()));
    let event = Event { room: Some("!room:example.org"), sender: Some(&alice), ..EVENT };
    server.attach_to_event(&mxc, event).await;
    server.place_event(EVENT.id, Some("joined"), None).await;
    let joined = |user: &str| {
        let content = json!({ "membership": "join" });
        let event_id = format!("$of-{}", user.len());
        json!({ "event_id": event_id, "room_id": "!room:example.org", "sender": user, "type": "m.room.member",
                "state_key": user, "content": content, "origin_server_ts": 1 })
    };
    let state = json!([joined(&alice), joined(&bob)]);
    homeserver.answers(Method::GET, "/_matrix/client/v3/rooms/%21room%3Aexample.org/state", 200, &state);
    tells(&server, "1", &[joined(&alice), joined(&bob)]).await;
    until("the room is known", async || server.metric("tintype_rooms_known").await == 1).await;
    let target = format!("/_matrix/federation/v1/media/download/{}", mxc.media_id);
    let asks = || {
        let signature = peer.authorization(&ServerName::parse("example.org").unwrap(), &target);
        server.anonymous().get(target.as_str()).header("authorization", signature)
    };

    let waiting = server.waiting(asks()).await;
    let message = json!({ "event_id": EVENT.id, "room_id": "!room:example.org", "sender": alice,
                          "type": "m.room.message", "content": { "body": "hello" }, "origin_server_ts": 2 });
    tells(&server, "2", &[message]).await;

    assert_eq!(waiting.await.status(), 200, "without any time having passed");
    assert_eq!(asks().await.status(), 200);
}
