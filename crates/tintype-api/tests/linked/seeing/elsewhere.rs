//! Linked media of other servers: its restriction names an event, and no room.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tintype_domain::{Audience, Mxc};
use tintype_testing::{Response, linked::Event, paths, pictures};

use super::{
    EVENT, ROOM, World, event_path, every_way, hidden, message, message_event, not_found, not_visible,
    redacted_message, tell_nothing, undecided,
};

const AS_SERVER: &str = "/_matrix/federation/v1/event/%24event";
const OF_ANY_ROOM: &str = "/_matrix/client/v3/events/%24event";

/// A world whose homeserver's key Tintype has, and the key's folder.
async fn world() -> (World, TempDir) {
    let folder = TempDir::new().expect("there is room for a folder");
    let key = folder.path().join("signing.key");
    fs::write(&key, format!("ed25519 a_key {}\n", "A".repeat(43))).expect("the key can be written");
    let world = World::with("", &format!("signing_key_file = '{}'", key.display())).await;
    (world, folder)
}

/// A picture of another server that belongs to the event.
async fn remote(world: &World) -> Mxc {
    let mxc = "mxc://elsewhere.example/picture".parse().expect("it is a URI");
    let audience = Audience::Event(EVENT.try_into().expect("it is an event's ID"));
    world.server.keep_remote(&mxc, audience, pictures::jpeg(100, 80), "image/jpeg").await;
    mxc
}

fn pdu() -> Value {
    let mut event = message();
    event.as_object_mut().expect("it is an object").remove("event_id");
    json!({ "origin": "example.org", "origin_server_ts": 1, "pdus": [event] })
}

#[tokio::test]
async fn an_event_whose_room_is_known_is_asked_for_there() {
    let (world, _key) = world().await;
    let mxc = remote(&world).await;
    world.server.know_event(message_event()).await;
    world.answers_bob(200, &message());

    let given = every_way(&world.bob, &mxc).await;
    world.forget();
    world.answers_bob(403, &hidden());
    let refused = every_way(&world.bob, &mxc).await;

    assert_eq!(given.each_ref().map(Response::status), [200, 200, 206, 304, 200, 200]);
    assert_eq!(given[0].header("cache-control"), "private, no-cache");
    tell_nothing(&refused, 403);
    assert_eq!((world.asked(AS_SERVER), world.asked(OF_ANY_ROOM)), (0, 0));
}

#[tokio::test]
async fn the_homeserver_is_asked_for_the_room_in_its_own_name_once() {
    let (world, _key) = world().await;
    let mxc = remote(&world).await;
    world.homeserver.answers(Method::GET, AS_SERVER, 200, &pdu());
    world.answers_bob(200, &message());

    let given = world.bob.get(paths::download(&mxc)).await;
    world.forget();
    world.answers_bob(404, &hidden());
    let refused = world.bob.get(paths::download(&mxc)).await;

    assert_eq!(given.status(), 200);
    assert_eq!(refused.error(), not_visible());
    assert_eq!((world.asked(AS_SERVER), world.asked(OF_ANY_ROOM)), (1, 0), "what was learned is recorded");
    let asked = world.homeserver.asked();
    let question = asked.iter().find(|asked| asked.target == AS_SERVER).unwrap();
    let signature = question.headers["authorization"].to_str().unwrap();
    assert!(signature.starts_with(r#"X-Matrix origin="example.org",destination="example.org",key="ed25519:a_key","#));
}

#[tokio::test]
async fn an_avatar_elsewhere_is_judged_as_the_state_event_that_it_is_learned_to_be() {
    let (world, _key) = world().await;
    let mxc = remote(&world).await;
    let mut avatar = pdu();
    avatar["pdus"][0]["type"] = json!("m.room.avatar");
    avatar["pdus"][0]["state_key"] = json!("");
    world.homeserver.answers(Method::GET, AS_SERVER, 200, &avatar);
    world.answers_bob(403, &hidden());
    let state = super::state_path("m.room.avatar", "");
    world.homeserver.answers_to(Method::GET, &state, Some("bob_token"), 200, &json!({ "event_id": EVENT }));

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn where_the_homeserver_does_not_tell_the_room_it_may_show_the_event_itself() {
    for (status, body) in [
        (401, json!({ "errcode": "M_UNAUTHORIZED", "error": "Wrong key" })),
        (403, hidden()),
        (404, hidden()),
        (404, json!("not found")),
        (500, hidden()),
        (200, json!({ "pdus": [] })),
    ] {
        let (world, _key) = world().await;
        let mxc = remote(&world).await;
        world.homeserver.answers(Method::GET, AS_SERVER, status, &body);
        world.homeserver.answers_to(Method::GET, OF_ANY_ROOM, Some("bob_token"), 200, &message());
        world.answers_bob(200, &message());

        let given = world.bob.get(paths::download(&mxc)).await;
        world.forget();
        let again = world.bob.get(paths::download(&mxc)).await;

        assert_eq!((given.status(), again.status()), (200, 200), "{status} {body}");
        assert_eq!(world.asked(OF_ANY_ROOM), 1, "from then on the room is known");
        assert_eq!(world.asked(&event_path(EVENT)), 1);
    }
}

#[tokio::test]
async fn what_the_homeserver_shows_nobody_is_hidden_and_what_it_does_not_answer_is_undecided() {
    for (as_server, of_any_room, expected) in [
        (404, 403, not_visible()),
        (403, 404, not_visible()),
        (500, 403, undecided()),
        (403, 500, undecided()),
        (429, 429, undecided()),
    ] {
        let (world, _key) = world().await;
        let mxc = remote(&world).await;
        world.homeserver.answers(Method::GET, AS_SERVER, as_server, &hidden());
        world.homeserver.answers(Method::GET, OF_ANY_ROOM, of_any_room, &hidden());

        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), expected, "{as_server} {of_any_room}");
    }
}

#[tokio::test]
async fn an_event_that_the_homeserver_does_not_know_is_hidden_as_synapse_says_that() {
    let (world, _key) = world().await;
    let mxc = remote(&world).await;
    world.homeserver.answers(Method::GET, AS_SERVER, 404, &json!(""));
    world.homeserver.answers(Method::GET, OF_ANY_ROOM, 404, &json!("Event not found."));

    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());
}

#[tokio::test]
async fn without_a_key_the_users_own_sight_is_all_there_is() {
    let world = World::start().await;
    let mxc = remote(&world).await;
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());

    world.homeserver.answers_to(Method::GET, OF_ANY_ROOM, Some("bob_token"), 200, &message());

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
    assert_eq!(world.asked(AS_SERVER), 0);
}

#[tokio::test]
async fn a_token_that_is_refused_there_is_refused_in_the_homeservers_words() {
    let world = World::start().await;
    let mxc = remote(&world).await;
    let words = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "Who?" });
    world.homeserver.answers(Method::GET, OF_ANY_ROOM, 401, &words);

    assert_eq!(world.bob.get(paths::download(&mxc)).await.json(), words);
}

#[tokio::test]
async fn media_of_an_event_that_is_shown_as_redacted_is_not_given_however_its_room_is_learned() {
    for path in [OF_ANY_ROOM, &event_path(EVENT)] {
        let (world, _key) = world().await;
        let mxc = remote(&world).await;
        if path != OF_ANY_ROOM {
            world.homeserver.answers(Method::GET, AS_SERVER, 200, &pdu());
        }
        world.homeserver.answers_to(Method::GET, path, Some("bob_token"), 200, &redacted_message());

        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_found(), "{path}");
    }
}

#[tokio::test]
async fn media_that_is_named_by_an_event_redacted_before_is_dead_on_arrival() {
    let (world, _key) = world().await;
    world.server.redact(EVENT).await;
    let mxc = remote(&world).await;
    world.server.know_event(message_event()).await;
    world.answers_bob(200, &message());

    tell_nothing(&every_way(&world.bob, &mxc).await, 404);
}

#[tokio::test]
async fn media_of_a_profile_elsewhere_needs_no_room() {
    let world = World::start().await;
    let mxc = "mxc://elsewhere.example/avatar".parse().unwrap();
    let audience = Audience::Profile("@eve:elsewhere.example".try_into().unwrap());
    world.server.keep_remote(&mxc, audience, pictures::jpeg(100, 80), "image/jpeg").await;
    let refused = world.bob.get(paths::download(&mxc)).await;
    let profile = "/_matrix/client/v3/profile/%40eve%3Aelsewhere.example";
    world.homeserver.answers_to(Method::GET, profile, Some("bob_token"), 200, &json!({}));

    assert_eq!(refused.error(), not_visible());
    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn an_event_of_which_only_the_room_is_known_is_asked_for_whole() {
    let (world, _key) = world().await;
    let mxc = remote(&world).await;
    world.server.know_event(Event { kind: None, sender: None, ..message_event() }).await;
    world.homeserver.answers(Method::GET, AS_SERVER, 404, &hidden());
    world.answers_bob(200, &message());

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200, "in {ROOM}");
}
