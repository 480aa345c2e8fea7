//! Media of a message: for whoever the homeserver shows the message to.

use http::Method;
use serde_json::{Value, json};
use tintype_testing::{Response, TestServer, paths, pictures};

use super::{
    ALICE, AS_APPSERVICE, BOB, EVENT, ROOM, World, event_path, every_way, hidden, message, message_event, not_found,
    not_visible, redacted_message, state_path, tell_nothing, undecided,
};

/// An event of the room as the homeserver tells an application service of it.
fn event_of(kind: &str, state_key: Option<&str>, content: &Value) -> Value {
    let mut event = json!({ "event_id": "$told", "room_id": ROOM, "sender": BOB, "type": kind, "content": content });
    if let Some(state_key) = state_key {
        event["state_key"] = json!(state_key);
    }
    event
}

#[tokio::test]
async fn whoever_is_shown_the_message_is_given_its_media_whichever_way_they_ask() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());

    let answers = every_way(&world.bob, &mxc).await;

    assert_eq!(answers.each_ref().map(Response::status), [200, 200, 206, 304, 200, 200]);
    for answer in &answers {
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        assert!(!answer.header("etag").is_empty());
    }
    assert_eq!(*answers[0].bytes(), pictures::jpeg(100, 80));
}

#[tokio::test]
async fn the_homeserver_is_asked_with_the_callers_own_token_and_told_who_asks() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());

    world.bob.get(paths::download(&mxc)).header("user-agent", "Client/1").await;

    let asked = world.homeserver.asked();
    let question = asked.iter().find(|asked| asked.target == event_path(EVENT)).expect("the event was asked for");
    assert_eq!(question.headers["authorization"], "Bearer bob_token");
    assert_eq!(question.headers["user-agent"], "Client/1");
    assert!(question.headers.contains_key("x-forwarded-for"));
}

#[tokio::test]
async fn who_is_not_shown_the_message_is_not_given_its_media_whichever_way_they_ask() {
    for (status, errcode) in [(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")] {
        let world = World::start().await;
        let mxc = world.picture().await;
        world.answers_bob(status, &json!({ "errcode": errcode, "error": "No" }));

        let answers = every_way(&world.bob, &mxc).await;

        tell_nothing(&answers, 403);
        assert_eq!(answers[0].error(), not_visible());
        assert_eq!(answers[4].error(), not_visible());
        assert_eq!(world.asked(&state_path("", "")), 0, "a message is no state");
    }
}

#[tokio::test]
async fn who_sent_the_message_is_asked_about_as_everybody() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());

    assert_eq!(world.alice.get(paths::download(&mxc)).await.error(), not_visible());
}

#[tokio::test]
async fn guests_are_judged_as_users() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.homeserver.knows("bob_token", json!({ "user_id": "@bob:example.org", "is_guest": true }));
    world.answers_bob(200, &message());

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn a_token_that_is_refused_is_refused_in_the_homeservers_words_and_not_believed_any_more() {
    let world = World::start().await;
    let mxc = world.picture().await;
    let words = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "Log in again", "soft_logout": true });
    world.answers_bob(401, &words);

    let refused = world.bob.get(paths::download(&mxc)).await;
    let again = world.bob.get(paths::download(&mxc)).await;

    assert_eq!((refused.status(), refused.json()), (401, words.clone()));
    assert_eq!(refused.header("cache-control"), "no-store");
    assert_eq!(again.json(), words);
    assert_eq!(world.asked("/_matrix/client/v3/account/whoami"), 2, "whose token it is was asked anew");
}

#[tokio::test]
async fn what_the_homeserver_does_not_decide_is_given_to_nobody() {
    let another = json!({ "event_id": "$another", "content": {} });
    for (status, body) in [
        (429, json!({ "errcode": "M_LIMIT_EXCEEDED", "error": "Slowly" })),
        (500, json!({ "errcode": "M_UNKNOWN", "error": "Oh" })),
        (502, json!("bad gateway")),
        (503, json!({})),
        (404, json!({})),
        (403, json!("keep out")),
        (200, json!([])),
        (200, json!({})),
        (200, another),
    ] {
        let world = World::start().await;
        let mxc = world.picture().await;
        world.answers_bob(status, &body);

        let answers = every_way(&world.bob, &mxc).await;

        tell_nothing(&answers, 503);
        assert_eq!(answers[0].error(), undecided(), "{status} {body}");
        assert_eq!(answers[4].error(), undecided(), "{status} {body}");
        assert_eq!(answers[0].header("retry-after"), "5");
    }
}

#[tokio::test]
async fn a_homeserver_that_is_gone_shows_nothing_to_anybody() {
    let World { homeserver, server, bob, .. } = World::start().await;
    let mxc = server.store_restricted("mxc://example.org/picture", ALICE, "hello", "text/plain").await;
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_visible());
    server.attach_to_event(&mxc, message_event()).await;

    homeserver.stop().await;

    assert_eq!(bob.get(paths::download(&mxc)).await.error(), undecided());
}

#[tokio::test]
async fn an_answer_is_believed_for_seconds() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());

    every_way(&world.bob, &mxc).await;
    let asked = world.asked(&event_path(EVENT));
    world.answers_bob(403, &hidden());
    let believed = world.bob.get(paths::download(&mxc)).await;
    world.forget();
    let asked_again = world.bob.get(paths::download(&mxc)).await;

    assert_eq!(asked, 1);
    assert_eq!(believed.status(), 200);
    assert_eq!(asked_again.error(), not_visible());
}

#[tokio::test]
async fn what_may_hide_the_message_ends_that_belief_at_once_and_nothing_else_does() {
    let stays = [
        event_of("m.room.message", None, &json!({ "body": "hello" })),
        event_of("m.room.member", Some("@carol:example.org"), &json!({ "membership": "join" })),
    ];
    let hides = [
        event_of("m.room.member", Some(BOB), &json!({ "membership": "leave" })),
        event_of("m.room.member", Some(BOB), &json!({ "membership": "ban" })),
        event_of("m.room.history_visibility", Some(""), &json!({ "history_visibility": "joined" })),
    ];
    let cases = stays.into_iter().map(|event| (event, 200)).chain(hides.into_iter().map(|event| (event, 403)));
    for (event, expected) in cases {
        let world = World::with("", AS_APPSERVICE).await;
        let mxc = world.picture().await;
        world.answers_bob(200, &message());
        assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
        world.answers_bob(403, &hidden());

        let body = json!({ "events": [event] }).to_string();
        let homeserver = world.server.anonymous().with_token("hs_token");
        let taken = homeserver.request(Method::PUT, "/_matrix/app/v1/transactions/1").body(body).await;

        assert_eq!(taken.status(), 200);
        assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), expected, "{event}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(403, &hidden());
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());

    world.answers_bob(200, &message());

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn the_answer_to_one_user_is_not_anothers() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());

    assert_eq!(world.bob.get(paths::download(&mxc)).await.status(), 200);
    assert_eq!(world.alice.get(paths::download(&mxc)).await.error(), not_visible());
}

#[tokio::test]
async fn each_revalidation_is_judged_again() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &message());
    let first = world.bob.get(paths::download(&mxc)).await;
    let etag = first.header("etag").to_owned();
    let thumbnail = world.bob.get(paths::thumbnail(&mxc, "width=64&height=64")).await;
    let etag_of_thumbnail = thumbnail.header("etag").to_owned();

    world.forget();
    let same = world.bob.get(paths::download(&mxc)).header("if-none-match", &etag).await;
    world.forget();
    world.answers_bob(403, &hidden());
    let refused = world.bob.get(paths::download(&mxc)).header("if-none-match", &etag).await;
    let thumbnail = paths::thumbnail(&mxc, "width=64&height=64");
    let thumbnail = world.bob.get(thumbnail).header("if-none-match", &etag_of_thumbnail).await;

    assert_eq!((same.status(), same.header("cache-control")), (304, "private, no-cache"));
    assert_eq!(refused.error(), not_visible());
    assert_eq!(thumbnail.error(), not_visible());
}

#[tokio::test]
async fn who_may_not_see_a_message_does_not_wait_for_its_media() {
    let world = World::start().await;
    let mxc = world.server.reserve_restricted("mxc://example.org/later", ALICE).await;
    world.server.attach_to_event(&mxc, message_event()).await;
    world.answers_bob(403, &hidden());
    let refused = world.bob.get(paths::download(&mxc)).await;
    let thumbnail = world.bob.get(paths::thumbnail(&mxc, "width=64&height=64")).await;

    world.answers_bob(200, &message());
    let waits = world.server.waiting(world.bob.get(paths::download(&mxc))).await;
    world.alice.put(&mxc).body("hello").await;

    assert_eq!(refused.error(), not_visible());
    assert_eq!(thumbnail.error(), not_visible());
    let given = waits.await;
    assert_eq!((given.bytes(), given.header("cache-control")), (&"hello".into(), "private, no-cache"));
}

#[tokio::test]
async fn whoever_waits_is_judged_again_when_it_comes() {
    let world = World::start().await;
    let mxc = world.server.reserve_restricted("mxc://example.org/later", ALICE).await;
    world.server.attach_to_event(&mxc, message_event()).await;
    world.answers_bob(200, &message());
    let waits = world.server.waiting(world.bob.get(paths::download(&mxc))).await;

    world.forget();
    world.answers_bob(403, &hidden());
    world.alice.put(&mxc).body("hello").await;

    assert_eq!(waits.await.error(), not_visible());
}

#[tokio::test]
async fn what_arrives_is_read_by_those_who_may_see_its_message() {
    let world = World::start().await;
    world.homeserver.log_in("carol", "carol_token");
    let mxc = world.server.reserve_restricted("mxc://example.org/later", ALICE).await;
    world.server.attach_to_event(&mxc, message_event()).await;
    world.answers_bob(200, &message());
    let mut upload = world.alice.put(&mxc).feed(10).await;
    upload.send(b"01234").await;
    world.server.is_receiving().await;

    let mut reading = world.bob.get(paths::download(&mxc)).open().await;
    let begun = reading.bytes(5).await;
    let refused = world.server.anonymous().with_token("carol_token").get(paths::download(&mxc)).await;
    upload.send(b"56789").await;

    assert_eq!((reading.status(), begun), (200, "01234".into()));
    assert_eq!(reading.header("cache-control"), "no-store");
    assert_eq!(refused.error(), not_visible());
    assert_eq!(upload.finish().await.status(), 200);
}

#[tokio::test]
async fn a_message_that_is_shown_as_redacted_takes_its_media_with_it() {
    let world = World::start().await;
    let mxc = world.picture().await;
    world.answers_bob(200, &redacted_message());

    let found_out = every_way(&world.bob, &mxc).await;
    let asked = world.asked(&event_path(EVENT));
    let of_uploader = every_way(&world.alice, &mxc).await;

    tell_nothing(&found_out, 404);
    tell_nothing(&of_uploader, 404);
    assert_eq!(found_out[0].error(), not_found());
    assert_eq!((asked, world.asked(&event_path(EVENT))), (1, 1), "it is known from then on");
}

#[tokio::test]
async fn whoever_reads_is_cut_when_the_message_turns_out_to_be_redacted() {
    let world = World::start().await;
    let mxc = world.server.reserve_restricted("mxc://example.org/later", ALICE).await;
    world.server.attach_to_event(&mxc, message_event()).await;
    world.answers_bob(200, &message());
    let mut upload = world.alice.put(&mxc).feed(10).await;
    upload.send(b"01234").await;
    world.server.is_receiving().await;
    let mut reading = world.bob.get(paths::download(&mxc)).open().await;
    reading.bytes(5).await;

    world.forget();
    world.answers_bob(200, &redacted_message());
    let found_out = world.bob.get(paths::download(&mxc)).await;

    assert_eq!(found_out.error(), not_found());
    assert!(reading.aborted().await.is_empty());
}

#[tokio::test]
async fn while_media_is_being_attached_others_wait_and_are_judged_by_what_it_is_attached_to() {
    for (status, body, expected) in [(200, message(), 200), (403, hidden(), 403)] {
        let world = World::start().await;
        let mxc = world.server.reserve_restricted("mxc://example.org/later", ALICE).await;
        world.server.begin_to_attach(&mxc).await;
        world.answers_bob(status, &body);
        let waits = world.server.waiting(world.bob.get(paths::download(&mxc))).await;

        world.server.attach_to_event(&mxc, message_event()).await;
        let asked = world.asked(&event_path(EVENT));
        // Whatever happens to the media calls those who wait for it, as the end of attaching does.
        world.alice.put(&mxc).body("hello").await;

        assert_eq!(waits.await.status(), expected);
        assert_eq!(asked, 0, "nobody knew of the event before");
    }
}

#[tokio::test]
async fn judgements_are_counted() {
    let world = World::start().await;
    let mxc = world.picture().await;
    for (status, body) in [(503, json!({})), (403, hidden()), (200, message())] {
        world.answers_bob(status, &body);
        world.bob.get(paths::download(&mxc)).await;
    }

    for what in ["visible", "hidden", "undecided"] {
        assert_eq!(world.server.metric(&format!("tintype_judged_{what}_total")).await, 1, "{what}");
    }
}

#[tokio::test]
async fn without_a_homeserver_attached_media_stays_its_uploaders() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = server.store_restricted("mxc://localhost/one", "@alice:localhost", "hello", "text/plain").await;
    server.attach_to_event(&mxc, message_event()).await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_visible());
}
