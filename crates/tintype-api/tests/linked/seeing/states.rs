//! Media of a state event: also for whoever sees that event as the current state.

use http::Method;
use serde_json::{Value, json};
use tintype_testing::{Response, paths};

use super::{
    ALICE, EVENT, ROOM, World, event_path, every_way, hidden, not_found, not_visible, state_path, tell_nothing,
    undecided,
};

fn avatar_event(id: &str) -> Value {
    json!({ "event_id": id, "room_id": ROOM, "type": "m.room.avatar", "state_key": "", "sender": ALICE, "content": {} })
}

fn answers_for_state(world: &World, kind: &str, state_key: &str, status: u16, body: &Value) {
    world.homeserver.answers_to(Method::GET, &state_path(kind, state_key), Some("bob_token"), status, body);
}

#[tokio::test]
async fn an_avatar_from_before_somebody_joined_is_shown_as_long_as_it_is_the_rooms() {
    let world = World::start().await;
    let mxc = world.avatar("m.room.avatar", "").await;
    world.answers_bob(403, &hidden());
    answers_for_state(&world, "m.room.avatar", "", 200, &avatar_event(EVENT));

    let answers = every_way(&world.bob, &mxc).await;
    let asked = world.homeserver.asked();
    let question = asked.iter().find(|asked| asked.target.starts_with(&state_path("m.room.avatar", "")));

    assert_eq!(answers.each_ref().map(Response::status), [200, 200, 206, 304, 200, 200]);
    assert_eq!(answers[0].header("cache-control"), "private, no-cache");
    let question = question.expect("the state was asked for");
    assert!(question.target.ends_with("?format=event"));
    assert_eq!(question.headers["authorization"], "Bearer bob_token");
    assert_eq!(world.asked(&event_path(EVENT)), 1, "it was remembered");

    world.forget();
    answers_for_state(&world, "m.room.avatar", "", 200, &avatar_event("$newer"));
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());
}

#[tokio::test]
async fn the_avatar_of_a_member_is_shown_as_long_as_it_is_the_members() {
    let world = World::start().await;
    let mxc = world.avatar("m.room.member", ALICE).await;
    world.answers_bob(404, &hidden());
    answers_for_state(&world, "m.room.member", ALICE, 200, &avatar_event(EVENT));

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn a_state_event_that_is_shown_itself_needs_no_state() {
    let world = World::start().await;
    let mxc = world.avatar("m.room.avatar", "").await;
    world.answers_bob(200, &avatar_event(EVENT));

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
    assert_eq!(world.asked(&state_path("m.room.avatar", "")), 0);
}

#[tokio::test]
async fn who_sees_neither_the_event_nor_the_state_is_refused() {
    let world = World::start().await;
    let mxc = world.avatar("m.room.avatar", "").await;
    world.answers_bob(403, &hidden());
    answers_for_state(&world, "m.room.avatar", "", 403, &hidden());

    let answers = every_way(&world.bob, &mxc).await;

    tell_nothing(&answers, 403);
    assert_eq!(answers[0].error(), not_visible());
}

#[tokio::test]
async fn a_state_that_the_homeserver_does_not_tell_leaves_it_undecided() {
    for (status, body) in [(500, hidden()), (429, hidden()), (200, json!([]))] {
        let world = World::start().await;
        let mxc = world.avatar("m.room.avatar", "").await;
        world.answers_bob(403, &hidden());
        answers_for_state(&world, "m.room.avatar", "", status, &body);

        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), undecided(), "{status}");
    }
}

#[tokio::test]
async fn state_that_is_shown_as_redacted_takes_its_media_with_it() {
    let world = World::start().await;
    let mxc = world.avatar("m.room.avatar", "").await;
    let mut redacted = avatar_event(EVENT);
    redacted["unsigned"] = json!({ "redacted_because": { "event_id": "$redaction" } });
    world.answers_bob(403, &hidden());
    answers_for_state(&world, "m.room.avatar", "", 200, &redacted);

    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_found());
    assert_eq!(world.alice.get(paths::download(&mxc)).await.error(), not_found());
}
