//! Media whose event was redacted, before its bytes are removed.

use http::Method;
use serde_json::{Value, json};
use tintype_domain::Mxc;
use tintype_testing::{Response, paths, pictures};

use super::{
    ALICE, BOB, EVENT, World, event_path, every_way, hidden, message, not_found, not_visible, redacted_message,
    state_path, tell_nothing, undecided,
};

fn wanted(mxc: &Mxc) -> String {
    paths::download(mxc) + "?allow_redacted_media=true"
}

fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

/// A world in which the message is redacted, and Bob is shown it as such.
async fn world(of_server: &str) -> (World, Mxc) {
    let world = World::with("", of_server).await;
    let mxc = world.picture().await;
    world.server.redact(EVENT).await;
    world.answers_bob(200, &redacted_message());
    (world, mxc)
}

fn power_levels(world: &World, status: u16, body: &Value) {
    let path = state_path("m.room.power_levels", "");
    world.homeserver.answers_to(Method::GET, &path, Some("bob_token"), status, body);
}

fn create_event(world: &World, sender: &str, content: &Value) {
    let path = state_path("m.room.create", "");
    let create = json!({ "event_id": "$create", "sender": sender, "content": content });
    world.homeserver.answers_to(Method::GET, &path, Some("bob_token"), 200, &create);
}

#[tokio::test]
async fn who_does_not_ask_for_redacted_media_finds_none_whoever_they_are() {
    let (world, mxc) = world("admins = ['@bob:example.org']").await;
    power_levels(&world, 200, &json!({ "users": { BOB: 100 } }));

    tell_nothing(&every_way(&world.bob, &mxc).await, 404);
    let not_wanted = paths::download(&mxc) + "?allow_redacted_media=false";
    assert_eq!(world.bob.get(not_wanted).await.error(), not_found());
    assert_eq!(world.asked(&event_path(EVENT)), 0);
}

#[tokio::test]
async fn our_admins_are_shown_it_even_where_they_may_not_see_the_event() {
    let (world, mxc) = world("admins = ['@bob:example.org']").await;
    world.answers_bob(403, &hidden());

    let given = world.bob.get(wanted(&mxc)).await;

    assert_eq!((given.status(), given.bytes().to_vec()), (200, pictures::jpeg(100, 80)));
    assert_eq!(given.header("cache-control"), "private, no-cache");
}

#[tokio::test]
async fn who_may_redact_in_the_room_is_shown_it_and_nobody_else_who_sees_the_event() {
    for (levels, expected) in [
        (json!({ "users": { BOB: 50 } }), 200),
        (json!({ "users": { BOB: 49 } }), 403),
        (json!({ "users": { BOB: "50" } }), 200),
        (json!({ "users_default": 50 }), 200),
        (json!({ "users_default": 50, "users": { BOB: 0 } }), 403),
        (json!({ "users_default": 10, "redact": 10 }), 200),
        (json!({ "users": { BOB: 50 }, "redact": 51 }), 403),
        (json!({ "redact": 0 }), 200),
        (json!({}), 403),
    ] {
        let (world, mxc) = world("").await;
        power_levels(&world, 200, &levels);
        create_event(&world, ALICE, &json!({ "room_version": "10" }));

        let answer = world.bob.get(wanted(&mxc)).await;

        assert_eq!(answer.status(), expected, "{levels}");
        if expected == 403 {
            assert_eq!(answer.error(), forbidden());
        }
    }
}

#[tokio::test]
async fn the_creators_of_a_room_stand_above_its_levels_from_version_12_on() {
    for (sender, content, expected) in [
        (BOB, json!({ "room_version": "12" }), 200),
        (BOB, json!({ "room_version": "13" }), 200),
        (BOB, json!({ "room_version": "11" }), 403),
        (BOB, json!({}), 403),
        (ALICE, json!({ "room_version": "12", "additional_creators": [BOB] }), 200),
        (ALICE, json!({ "room_version": "11", "additional_creators": [BOB] }), 403),
        (ALICE, json!({ "room_version": "12" }), 403),
    ] {
        let (world, mxc) = world("").await;
        power_levels(&world, 200, &json!({ "redact": 50 }));
        create_event(&world, sender, &content);

        assert_eq!(world.bob.get(wanted(&mxc)).await.status(), expected, "{sender} {content}");
    }
}

#[tokio::test]
async fn in_a_room_without_levels_only_its_creator_may() {
    for (sender, expected) in [(BOB, 200), (ALICE, 403)] {
        let (world, mxc) = world("").await;
        power_levels(&world, 404, &hidden());
        create_event(&world, sender, &json!({ "room_version": "10" }));

        assert_eq!(world.bob.get(wanted(&mxc)).await.status(), expected, "{sender}");
    }
}

#[tokio::test]
async fn who_does_not_see_the_event_is_told_that_and_no_more() {
    let (world, mxc) = world("").await;
    world.answers_bob(403, &hidden());
    power_levels(&world, 200, &json!({ "users": { BOB: 100 } }));

    assert_eq!(world.bob.get(wanted(&mxc)).await.error(), not_visible());
}

#[tokio::test]
async fn levels_that_the_homeserver_does_not_tell_leave_it_undecided() {
    let (world, mxc) = world("").await;
    power_levels(&world, 500, &hidden());

    assert_eq!(world.bob.get(wanted(&mxc)).await.error(), undecided());
}

#[tokio::test]
async fn a_redaction_that_is_only_learned_with_the_answer_counts_at_once() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &redacted_message());
    power_levels(&world, 200, &json!({}));
    create_event(&world, ALICE, &json!({}));

    assert_eq!(world.bob.get(wanted(&mxc)).await.error(), forbidden());
    assert_eq!(world.alice.get(paths::download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn what_is_not_redacted_is_given_as_ever() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());

    assert_eq!(world.bob.get(wanted(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn thumbnails_of_it_are_shown_to_nobody() {
    let (world, mxc) = world("admins = ['@bob:example.org']").await;

    let thumbnail = paths::thumbnail(&mxc, "width=64&height=64&allow_redacted_media=true");
    let answers: [Response; 2] = [world.bob.get(thumbnail.as_str()).await, world.bob.head(thumbnail).await];

    tell_nothing(&answers, 404);
}
