//! `DELETE /_matrix/client/unstable/org.matrix.msc4425/{origin}/{mediaId}`

use tintype_client::{Deletion, Error, ErrorCode};

use crate::{
    peer::{Act, Peer},
    server::{Server, mxc},
};

const UNSTABLE: &str = "DELETE /_matrix/client/unstable/org.matrix.msc4425/example.org/abc";
const STABLE: &str = "DELETE /_matrix/client/v1/media/example.org/abc";

#[tokio::test]
async fn the_three_answers_are_told_apart() {
    for (act, expected) in [
        (Act::answer("200 OK", "", "{}"), Deletion::Deleted),
        (Act::refuse("404 Not Found", "", "M_NOT_FOUND"), Deletion::AlreadyGone),
        (Act::refuse("403 Forbidden", "", "M_FORBIDDEN"), Deletion::NotAllowed),
    ] {
        let peer = Peer::start([act]).await;
        assert_eq!(peer.client().delete(&mxc()).await.unwrap(), expected);
        assert_eq!(peer.lines(), [UNSTABLE]);
        assert_eq!((peer.asked()[0].header("authorization"), &peer.asked()[0].body[..]), ("Bearer token", &b""[..]));
    }
}

#[tokio::test]
async fn a_server_that_knows_only_the_stable_path_is_asked_there() {
    for unrecognized in [
        Act::refuse("404 Not Found", "", "M_UNRECOGNIZED"),
        Act::refuse("405 Method Not Allowed", "", "M_UNRECOGNIZED"),
        Act::answer("404 Not Found", "", "<html>"),
    ] {
        let peer = Peer::start([unrecognized, Act::answer("200 OK", "", "{}")]).await;
        assert_eq!(peer.client().delete(&mxc()).await.unwrap(), Deletion::Deleted);
        assert_eq!(peer.lines(), [UNSTABLE, STABLE]);
    }
}

#[tokio::test]
async fn a_server_that_knows_neither_path_has_not_been_asked() {
    let unrecognized = || Act::refuse("404 Not Found", "", "M_UNRECOGNIZED");
    let peer = Peer::start([unrecognized(), unrecognized()]).await;

    let error = peer.client().delete(&mxc()).await.unwrap_err();

    assert!(matches!(error, Error::NoEphemeralMedia), "{error:?}");
    assert_eq!(peer.lines(), [UNSTABLE, STABLE]);
}

#[tokio::test]
async fn other_refusals_are_no_request_that_was_made() {
    for (status, errcode) in [
        ("401 Unauthorized", "M_UNKNOWN_TOKEN"),
        ("403 Forbidden", "M_GUEST_ACCESS_FORBIDDEN"),
        ("404 Not Found", "ORG.EXAMPLE_NO_SUCH_ACCOUNT"),
    ] {
        let peer = Peer::start([Act::refuse(status, "", errcode)]).await;
        let error = peer.client().delete(&mxc()).await.unwrap_err();
        assert_eq!(error.errcode().map(ErrorCode::as_str), Some(errcode));
    }
    let proxy = Peer::start([Act::answer("403 Forbidden", "", "<html>")]).await;
    assert_eq!(proxy.client().delete(&mxc()).await.unwrap_err().status(), Some(403));
}

#[tokio::test]
async fn what_fails_on_the_way_is_tried_again() {
    let busy = Act::refuse("429 Too Many Requests", "Retry-After: 0\r\n", "M_LIMIT_EXCEEDED");
    let gone = Act::refuse("404 Not Found", "", "M_NOT_FOUND");
    let peer = Peer::start([Act::break_off(0), busy, gone]).await;

    assert_eq!(peer.client().delete(&mxc()).await.unwrap(), Deletion::AlreadyGone);

    assert_eq!(peer.lines(), [UNSTABLE; 3]);
}

#[tokio::test]
async fn on_a_real_server_only_ephemeral_media_of_ones_own_goes() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let ephemeral = alice.upload("hello").ephemeral().await.unwrap();
    let kept = alice.upload("hello").await.unwrap();
    let never_there = "mxc://localhost/nothing".parse().unwrap();

    assert_eq!(bob.delete(&ephemeral).await.unwrap(), Deletion::NotAllowed);
    assert_eq!(alice.delete(&kept).await.unwrap(), Deletion::NotAllowed);
    assert_eq!(alice.delete(&never_there).await.unwrap(), Deletion::NotAllowed);
    assert_eq!(bob.download(&ephemeral).await.unwrap().bytes(5).await.unwrap(), "hello");
    assert_eq!(alice.delete(&ephemeral).await.unwrap(), Deletion::Deleted);
    assert_eq!(alice.delete(&ephemeral).await.unwrap(), Deletion::AlreadyGone);

    let gone = bob.download(&ephemeral).await.unwrap_err();
    assert_eq!((gone.status(), gone.errcode()), (Some(404), Some(&ErrorCode::NOT_FOUND)));
    assert_eq!(bob.download(&kept).await.unwrap().bytes(5).await.unwrap(), "hello");
}

#[tokio::test]
async fn on_a_real_server_what_is_put_to_an_ephemeral_uri_is_ephemeral() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    let put = alice.create().ephemeral().await.unwrap().mxc;
    alice.put(&put, "hello").await.unwrap();
    let encrypted = alice.upload_encrypted("hello").ephemeral().await.unwrap();

    assert_eq!(alice.delete(&put).await.unwrap(), Deletion::Deleted);
    assert_eq!(alice.delete(encrypted.mxc()).await.unwrap(), Deletion::Deleted);
}
