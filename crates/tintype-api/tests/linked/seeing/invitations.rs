//! Avatars that an invitation or a knock shows, to those who see nothing else of the room yet.

use http::Method;
use serde_json::{Value, json};
use tintype_domain::{Audience, Mxc};
use tintype_testing::{paths, pictures};

use super::{ALICE, AS_APPSERVICE, BOB, EVENT, ROOM, World, hidden, not_found, not_visible, state_path, undecided};

/// A user who is in the room.
const CAROL: &str = "@carol:example.org";

async fn world() -> World {
    let world = World::with("", AS_APPSERVICE).await;
    world.answers_bob(403, &hidden());
    for (kind, key) in [("m.room.avatar", ""), ("m.room.member", ALICE), ("m.room.topic", "")] {
        world.homeserver.answers_to(Method::GET, &state_path(kind, key), Some("bob_token"), 403, &hidden());
    }
    world
}

/// What an invitation is recorded to show of the room.
fn shows(kind: &str, state_key: &str, mxc: &str) -> Value {
    json!([{ "type": kind, "state_key": state_key, "event_id": null, "avatar": mxc }])
}

fn picture() -> &'static str {
    "mxc://example.org/picture"
}

#[tokio::test]
async fn what_the_stripped_state_names_is_shown_to_who_is_invited_or_knocks() {
    for membership in ["invite", "knock"] {
        for (kind, key) in [("m.room.avatar", ""), ("m.room.member", ALICE)] {
            let world = world().await;
            let mxc = world.avatar(kind, key).await;
            world.server.know_member(ROOM, BOB, membership, CAROL, &shows(kind, key, picture())).await;

            assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200, "{membership} {kind}");
        }
    }
}

#[tokio::test]
async fn stripped_state_shows_nothing_to_who_is_not_outside_the_room_any_more() {
    for membership in ["leave", "ban", "join"] {
        let world = world().await;
        let mxc = world.avatar("m.room.avatar", "").await;
        world.server.know_member(ROOM, BOB, membership, CAROL, &shows("m.room.avatar", "", picture())).await;

        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible(), "{membership}");
    }
}

#[tokio::test]
async fn an_invitation_shows_only_what_it_names_of_the_room_that_it_is_to() {
    for (room, stripped) in [
        (ROOM, shows("m.room.avatar", "", "mxc://example.org/another")),
        (ROOM, shows("m.room.member", "", picture())),
        (ROOM, shows("m.room.avatar", "x", picture())),
        (ROOM, json!([])),
        ("!another:example.org", shows("m.room.avatar", "", picture())),
    ] {
        let world = world().await;
        let mxc = world.avatar("m.room.avatar", "").await;
        world.server.know_member(room, BOB, "invite", CAROL, &stripped).await;

        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible(), "{room} {stripped}");
    }
}

#[tokio::test]
async fn a_message_is_not_shown_with_an_invitation() {
    let world = world().await;
    let mxc = world.picture().await;
    world.server.know_member(ROOM, BOB, "invite", ALICE, &shows("m.room.avatar", "", picture())).await;

    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());
}

#[tokio::test]
async fn whoever_is_invited_sees_who_invited_them_and_no_other_member() {
    let world = world().await;
    let mxc = world.avatar("m.room.member", ALICE).await;
    world.server.know_member(ROOM, BOB, "invite", ALICE, &json!([])).await;
    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);

    world.server.know_member(ROOM, BOB, "invite", CAROL, &json!([])).await;
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());

    world.server.know_member(ROOM, BOB, "knock", ALICE, &json!([])).await;
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible(), "nobody invited them");
}

#[tokio::test]
async fn the_avatar_that_the_room_has_now_is_asked_for_as_somebody_who_is_in_it() {
    let world = world().await;
    let mxc = world.avatar("m.room.avatar", "").await;
    world.server.know_member(ROOM, BOB, "invite", ALICE, &json!([])).await;
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible(), "nobody is known to be in it");
    world.server.know_member(ROOM, CAROL, "join", CAROL, &json!([])).await;
    let path = state_path("m.room.avatar", "");
    let answers = |status, body: Value| world.homeserver.answers_to(Method::GET, &path, Some(CAROL), status, &body);

    answers(200, json!({ "event_id": EVENT }));
    let current = world.bob.get(paths::download(&mxc)).await;
    answers(200, json!({ "event_id": "$newer" }));
    let replaced = world.bob.get(paths::download(&mxc)).await;
    answers(500, hidden());
    let unanswered = world.bob.get(paths::download(&mxc)).await;
    answers(401, json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "No such application service" }));
    let refused = world.bob.get(paths::download(&mxc)).await;
    answers(200, json!({ "event_id": EVENT, "unsigned": { "redacted_because": { "event_id": "$redaction" } } }));
    let redacted = world.bob.get(paths::download(&mxc)).await;

    assert_eq!(current.status(), 200);
    assert_eq!(replaced.error(), not_visible());
    assert_eq!(unanswered.error(), undecided());
    assert_eq!(refused.error(), undecided(), "the user can do nothing about that");
    assert_eq!(redacted.error(), not_found());
}

#[tokio::test]
async fn an_invitation_from_before_the_stream_is_asked_for_as_somebody_who_is_in_the_room() {
    let world = world().await;
    let mxc = world.avatar("m.room.member", ALICE).await;
    world.server.know_member(ROOM, CAROL, "join", CAROL, &json!([])).await;
    let path = state_path("m.room.member", BOB);
    let answers = |membership: &str, sender: &str| {
        let member = json!({ "event_id": "$member", "sender": sender, "content": { "membership": membership } });
        world.homeserver.answers_to(Method::GET, &path, Some(CAROL), 200, &member);
    };

    answers("invite", ALICE);
    let invited = world.bob.get(paths::download(&mxc)).await;
    answers("leave", ALICE);
    let left = world.bob.get(paths::download(&mxc)).await;

    assert_eq!(invited.status(), 200);
    assert_eq!(left.error(), not_visible());
}

#[tokio::test]
async fn of_rooms_elsewhere_an_invitation_shows_media_of_the_server_that_invited_and_of_no_other() {
    let world = world().await;
    let theirs: Mxc = "mxc://elsewhere.example/avatar".parse().unwrap();
    let stolen: Mxc = "mxc://third.example/secret".parse().unwrap();
    for mxc in [&theirs, &stolen] {
        let audience = Audience::Event("$remote".try_into().unwrap());
        world.server.keep_remote(mxc, audience, pictures::jpeg(10, 10), "image/jpeg").await;
    }
    let before = world.bob.get(paths::download(&theirs)).await;
    let invite = async |room: &str, membership: &str, mxc: &Mxc| {
        let stripped = shows("m.room.avatar", "", &mxc.to_string());
        world.server.know_member(room, BOB, membership, "@eve:elsewhere.example", &stripped).await;
    };

    invite("!one:elsewhere.example", "invite", &theirs).await;
    invite("!two:elsewhere.example", "invite", &stolen).await;
    let invited = world.bob.get(paths::download(&theirs)).await;
    let named = world.bob.get(paths::download(&stolen)).await;
    let alice = world.alice.get(paths::download(&theirs)).await;
    invite("!one:elsewhere.example", "leave", &theirs).await;
    let declined = world.bob.get(paths::download(&theirs)).await;

    assert_eq!(before.error(), not_visible());
    assert_eq!(invited.status(), 200);
    assert_eq!(named.error(), not_visible(), "a server can name what is not its own");
    assert_eq!(alice.error(), not_visible(), "she is not invited");
    assert_eq!(declined.error(), not_visible());
}
