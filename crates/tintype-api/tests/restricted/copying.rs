//! `POST /_matrix/client/unstable/org.matrix.msc3911/media/copy/{serverName}/{mediaId}`, and its stable name.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, TestServer, linked::Event, paths, pattern, until};

use super::{invisible, not_found, restricted};
use crate::federation::pair;

const LARGE: usize = 300_000;

async fn copy(client: &Client, mxc: &Mxc) -> Mxc {
    client.post(paths::copy(mxc)).body("{}").await.mxc()
}

#[tokio::test]
async fn a_copy_is_the_same_under_another_name_and_its_makers_alone() {
    for name in [paths::copy, paths::stable_copy] {
        for length in [5, LARGE] {
            let server = TestServer::start().await;
            let (alice, bob) = (server.user("alice").await, server.user("bob").await);
            let source = alice.upload(pattern(length)).content_type("image/x-odd").filename("фото.png").await;
            let files = server.blobs().len();

            let copied = bob.post(name(&source)).await.mxc();

            assert_ne!(copied, source);
            let (one, other) = (alice.get(paths::download(&source)).await, bob.get(paths::download(&copied)).await);
            assert_eq!(other.bytes(), one.bytes());
            for header in ["content-type", "content-disposition", "etag"] {
                assert_eq!(other.header_bytes(header), one.header_bytes(header), "{header}");
            }
            assert_eq!(alice.get(paths::download(&copied)).await.error(), invisible());
            assert_eq!(server.blobs().len(), files, "no bytes are moved");
            assert_eq!(server.metric("tintype_copies_total").await, 1);
        }
    }
}

#[tokio::test]
async fn a_copy_stays_when_its_source_goes() {
    let server = TestServer::with("linked.unattached_after = '10m'").await;
    let alice = server.user("alice").await;
    let source = restricted(&alice, pattern(LARGE)).await;
    server.advance(Duration::from_mins(5));
    let copied = copy(&alice, &source).await;

    server.advance(Duration::from_mins(5));
    let gone = async |mxc: &Mxc| alice.get(paths::download(mxc)).status().await == Some(404);
    until("the source is swept", async || gone(&source).await).await;

    assert_eq!(alice.get(paths::download(&copied)).await.bytes()[..], pattern(LARGE)[..]);
    server.advance(Duration::from_mins(5));
    until("so is the copy, which nobody attached", async || gone(&copied).await).await;
    until("and the bytes", async || server.blobs().is_empty()).await;
}

#[tokio::test]
async fn what_one_may_not_see_one_may_not_copy() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let unattached = restricted(&alice, "unattached").await;
    let nobodys = "mxc://example.org/nobodys".parse().unwrap();
    server.keep_remote(&nobodys, tintype_domain::Audience::Nobody, "nobody's", "text/plain").await;

    for source in [&unattached, &nobodys] {
        assert_eq!(bob.post(paths::copy(source)).await.error(), invisible(), "{source}");
    }
    assert_eq!(server.metric("tintype_copies_total").await, 0);
    assert_eq!(alice.post(paths::copy(&unattached)).await.status(), 200);
}

#[tokio::test]
async fn what_is_redacted_or_was_never_there_is_not_copied() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let redacted = restricted(&alice, "redacted").await;
    let event = Event { id: "$event", room: Some("!room:localhost"), sender: None, kind: None, state_key: None };
    server.attach_to_event(&redacted, event).await;
    server.redact("$event").await;
    let nothing = "mxc://localhost/nothing".parse().unwrap();

    for source in [&redacted, &nothing] {
        assert_eq!(alice.post(paths::copy(source)).await.error(), not_found(), "{source}");
    }
    let odd = "/_matrix/client/unstable/org.matrix.msc3911/media/copy/localhost/..%2Fetc";
    assert_eq!(alice.post(odd).await.error(), not_found());
}

#[tokio::test]
async fn ephemeral_media_is_not_copied() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let here = alice.post(paths::EPHEMERAL_UPLOAD).body("here").await.mxc();
    let there = bob.post(paths::EPHEMERAL_UPLOAD).body("there").await.mxc();

    for source in [here, there] {
        assert_eq!(alice.post(paths::copy(&source)).await.error(), (403, "M_FORBIDDEN".to_owned()), "{source}");
    }
}

#[tokio::test]
async fn media_of_other_servers_is_fetched_whole_and_then_copied() {
    for length in [5, LARGE] {
        let (ours, theirs, alice, bob) = pair("", "").await;
        let source = bob.upload(pattern(length)).content_type("text/x-far").await;

        let copied = copy(&alice, &source).await;

        assert_eq!(copied.server_name, *ours.name());
        assert_eq!(ours.blobs().len(), usize::from(length == LARGE));
        drop(theirs.drain().await);
        let read = alice.get(paths::download(&copied)).await;
        assert_eq!((read.header("content-type"), read.bytes().len()), ("text/x-far", length));
    }
}

#[tokio::test]
async fn what_is_kept_of_another_server_need_not_be_fetched_again() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let source = bob.upload("hello").await;
    alice.get(paths::download(&source)).await;
    drop(theirs.drain().await);

    let copied = copy(&alice, &source).await;

    assert_eq!(alice.get(paths::download(&copied)).await.bytes(), "hello");
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);
}

#[tokio::test]
async fn a_source_that_is_still_to_come_is_waited_for() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let source = alice.create().await;
    let at_once = bob.post(paths::copy(&source) + "?timeout_ms=0").await;
    assert_eq!(at_once.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));

    let copying = server.waiting(bob.post(paths::copy(&source) + "?timeout_ms=5000")).await;
    alice.put(&source).body("hello").await;

    let copied = copying.await.mxc();
    assert_eq!(bob.get(paths::download(&copied)).await.bytes(), "hello");
}

#[tokio::test]
async fn who_may_not_upload_may_not_copy() {
    let server = TestServer::with("limits.max_user_media = 1").await;
    let (alice, bob, guest) = (server.user("alice").await, server.user("bob").await, server.guest("guest").await);
    let source = alice.upload("hello").await;
    let refused = async |client: &Client| client.post(paths::copy(&source)).await.error();

    assert_eq!(refused(&server.anonymous()).await, (401, "M_MISSING_TOKEN".to_owned()));
    assert_eq!(refused(&guest).await, (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    copy(&bob, &source).await;
    assert_eq!(refused(&bob).await, (403, "M_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn a_body_may_be_missing_and_otherwise_is_an_object() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let source = alice.upload("hello").await;

    for body in ["", "{}", r#"{"org.example.why":"forwarded"}"#] {
        assert_eq!(alice.post(paths::copy(&source)).body(body).await.status(), 200, "{body}");
    }
    for (body, errcode) in [("[]", "M_BAD_JSON"), ("null", "M_BAD_JSON"), ("hello", "M_NOT_JSON")] {
        let refused = alice.post(paths::copy(&source)).body(body).await;
        assert_eq!(refused.error(), (400, errcode.to_owned()), "{body}");
    }
    let impatient = alice.post(paths::copy(&source) + "?timeout_ms=soon").await;
    assert_eq!(impatient.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[tokio::test]
async fn a_copy_can_be_copied() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let source = alice.upload("hello").await;

    let second = copy(&alice, &copy(&alice, &source).await).await;

    assert_eq!(alice.get(paths::download(&second)).await.bytes(), "hello");
}
