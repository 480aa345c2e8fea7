//! Restricted media that is attached to nothing: its uploader's, whichever way it is asked for.

use std::time::Duration;

use tintype_domain::Audience;
use tintype_testing::{Response, TestServer, linked::Event, paths, pictures};

use super::{every_way, not_found, not_visible};
use crate::federation::{ask, pair};

const MXC: &str = "mxc://localhost/restricted";
const ALICE: &str = "@alice:localhost";

#[tokio::test]
async fn unattached_media_is_given_to_its_uploader_and_kept_by_nobody_on_the_way() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = server.store_restricted(MXC, ALICE, pictures::jpeg(100, 80), "image/jpeg").await;

    let answers = every_way(&alice, &mxc).await;

    assert_eq!(answers.each_ref().map(Response::status), [200, 200, 206, 304, 200, 200]);
    for answer in answers {
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn unattached_media_is_hidden_from_all_others_whichever_way_they_ask() {
    let server = TestServer::start().await;
    let (bob, guest) = (server.user("bob").await, server.guest("guest").await);
    let mxc = server.store_restricted(MXC, ALICE, pictures::jpeg(100, 80), "image/jpeg").await;

    for client in [bob, guest] {
        let answers = every_way(&client, &mxc).await;

        assert_eq!(answers.each_ref().map(Response::status), [403; 6]);
        assert_eq!(answers[0].error(), not_visible());
        for answer in answers {
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("etag"), "");
        }
    }
}

#[tokio::test]
async fn the_old_endpoints_never_have_restricted_media_whatever_is_frozen() {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let stored = server.store_restricted(MXC, ALICE, pictures::jpeg(100, 80), "image/jpeg").await;
    let reserved = server.reserve_restricted("mxc://localhost/reserved", ALICE).await;
    let elsewhere = "mxc://example.org/restricted".parse().unwrap();
    server.keep_remote(&elsewhere, Audience::Nobody, pictures::jpeg(100, 80), "image/jpeg").await;
    let anonymous = server.anonymous();

    for mxc in [stored, reserved, elsewhere] {
        let download = anonymous.get(paths::legacy_download(&mxc)).await;
        let head = anonymous.head(paths::legacy_download(&mxc)).await;
        let thumbnail = anonymous.get(paths::legacy_thumbnail(&mxc, "width=64&height=64")).await;

        assert_eq!(download.error(), not_found(), "{mxc}");
        assert_eq!(head.status(), 404, "{mxc}");
        assert_eq!(thumbnail.error(), not_found(), "{mxc}");
    }
}

#[tokio::test]
async fn nobody_but_its_uploader_waits_for_restricted_media() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = server.reserve_restricted(MXC, ALICE).await;

    let waits = server.waiting(alice.get(paths::download(&mxc))).await;
    let refused = bob.get(paths::download(&mxc)).await;
    let thumbnail = bob.get(paths::thumbnail(&mxc, "width=64&height=64")).await;
    alice.put(&mxc).body("hello").await;

    assert_eq!(refused.error(), not_visible());
    assert_eq!(thumbnail.error(), not_visible());
    assert_eq!(waits.await.bytes(), "hello");
}

#[tokio::test]
async fn what_arrives_of_restricted_media_is_its_uploaders() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = server.reserve_restricted(MXC, ALICE).await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send(b"01234").await;
    server.is_receiving().await;

    let mut reading = alice.get(paths::download(&mxc)).open().await;
    let begun = reading.bytes(5).await;
    let refused = bob.get(paths::download(&mxc)).await;
    let part = bob.get(paths::download(&mxc)).header("range", "bytes=0-3").await;
    upload.send(b"56789").await;

    assert_eq!((reading.status(), begun), (200, "01234".into()));
    assert_eq!(reading.header("cache-control"), "no-store");
    assert_eq!(refused.error(), not_visible());
    assert_eq!(part.error(), not_visible());
    assert_eq!(upload.finish().await.status(), 200);
}

#[tokio::test]
async fn while_it_is_being_attached_others_wait_and_are_refused_in_the_end() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = server.store_restricted(MXC, ALICE, "hello", "text/plain").await;
    server.begin_to_attach(&mxc).await;

    let waits = server.waiting(bob.get(paths::download(&mxc) + "?timeout_ms=5000")).await;
    let at_once = bob.get(paths::download(&mxc) + "?timeout_ms=0").await;
    let uploader = alice.get(paths::download(&mxc)).await;
    server.advance(Duration::from_secs(5));

    assert_eq!(waits.await.error(), not_visible());
    assert_eq!(at_once.error(), not_visible());
    assert_eq!((uploader.bytes(), uploader.header("cache-control")), (&"hello".into(), "no-store"));
}

#[tokio::test]
async fn other_servers_are_refused_what_is_attached_to_nothing() {
    let (ours, theirs, _, _) = pair("", "").await;
    let mxc = format!("mxc://{}/restricted", ours.name());
    let owner = format!("@alice:{}", ours.name());
    ours.store_restricted(&mxc, &owner, pictures::jpeg(100, 80), "image/jpeg").await;

    let download = ask(&theirs, &ours, "/_matrix/federation/v1/media/download/restricted").await;
    let thumbnail = ask(&theirs, &ours, "/_matrix/federation/v1/media/thumbnail/restricted?width=64&height=64").await;

    assert_eq!(download.error(), not_visible());
    assert_eq!(thumbnail.error(), not_visible());
}

#[tokio::test]
async fn media_of_other_servers_that_is_restricted_in_an_unknown_way_is_nobodys() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = "mxc://example.org/restricted".parse().unwrap();
    server.keep_remote(&mxc, Audience::Nobody, pictures::jpeg(100, 80), "image/jpeg").await;

    let answers = every_way(&alice, &mxc).await;

    assert_eq!(answers.each_ref().map(Response::status), [403; 6]);
    assert_eq!(answers[0].error(), not_visible());
}

#[tokio::test]
async fn media_whose_event_was_redacted_is_not_found_by_its_uploader_either() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = server.store_restricted(MXC, ALICE, pictures::jpeg(100, 80), "image/jpeg").await;
    let event = Event {
        id: "$event",
        room: Some("!room:localhost"),
        sender: Some(ALICE),
        kind: Some("m.room.message"),
        state_key: None,
    };
    server.attach_to_event(&mxc, event).await;
    server.redact("$event").await;

    let answers = every_way(&alice, &mxc).await;

    assert_eq!(answers.each_ref().map(Response::status), [404; 6]);
    assert_eq!(answers[0].error(), not_found());
}
