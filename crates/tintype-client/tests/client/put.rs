//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`, in one request.

use std::io::Cursor;

use tintype_client::{Error, ErrorCode, Resumable, Source};
use tintype_testing::{pattern, until};

use crate::{
    peer::{Act, Peer},
    relay::Cut,
    server::{Server, mxc},
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

#[tokio::test]
async fn a_reservation_is_given_its_content_whatever_it_is_read_from() {
    let server = Server::with("limits.max_pending_uploads = 100").await;
    let alice = server.client("alice").await;

    for resumable in [Resumable::IfPossible, Resumable::Never] {
        for source in [Source::from(pattern(LONG)), Source::reader(Cursor::new(pattern(LONG)))] {
            let mxc = alice.create().await.unwrap().mxc;
            let put = alice.put(&mxc, source).content_type("text/plain").filename("ü.txt").resumable(resumable);
            put.await.unwrap();

            let download = alice.download(&mxc).await.unwrap();
            assert_eq!((download.content_type(), download.filename()), (Some("text/plain"), Some("ü.txt")));
            assert!(download.bytes(LONG).await.unwrap() == pattern(LONG));
        }
    }
}

#[tokio::test]
async fn a_reservation_is_given_its_content_once_and_by_its_creator() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let mxc = alice.create().await.unwrap().mxc;

    let by_another = bob.put(&mxc, "bob's").await.unwrap_err();
    alice.put(&mxc, "first").await.unwrap();
    let again = alice.put(&mxc, "second").await.unwrap_err();
    let unknown = alice.put(&"mxc://localhost/nothing".parse().unwrap(), "x").await.unwrap_err();

    assert_eq!(by_another.errcode(), Some(&ErrorCode::FORBIDDEN));
    assert_eq!((again.status(), again.errcode()), (Some(409), Some(&ErrorCode::CANNOT_OVERWRITE_MEDIA)));
    assert_eq!(unknown.errcode(), Some(&ErrorCode::NOT_FOUND));
    assert_eq!(alice.download(&mxc).await.unwrap().bytes(10).await.unwrap(), "first");
}

#[tokio::test]
async fn a_plain_upload_that_is_cut_fails_and_can_be_sent_again() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.create().await.unwrap().mxc;
    server.relay.cut(Cut::Upwards(500_000));

    let error = alice.put(&mxc, pattern(LONG)).resumable(Resumable::Never).await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    server.tintype.holds_nothing().await;
    until("the reservation is free", async || alice.put(&mxc, pattern(LONG)).resumable(Resumable::Never).await.is_ok())
        .await;

    assert!(alice.download(&mxc).await.unwrap().bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn a_plain_upload_says_nothing_of_resuming() {
    let peer = Peer::start([Act::answer("200 OK", "", "{}")]).await;

    peer.client().put(&mxc(), "hello").filename("a b").resumable(Resumable::Never).await.unwrap();

    let asked = &peer.asked()[0];
    assert_eq!(asked.line, "PUT /_matrix/media/v3/upload/example.org/abc?filename=a+b HTTP/1.1");
    assert_eq!((asked.header("content-length"), asked.header("upload-complete")), ("5", ""));
    assert_eq!(asked.body, b"hello");
}

#[tokio::test]
async fn what_can_be_read_only_once_cannot_be_sent_resumably() {
    let peer = Peer::start([]).await;
    let source = || Source::reader(Cursor::new("x"));

    for put in [
        peer.client().put(&mxc(), source()).resumable(Resumable::Always),
        peer.client().put(&mxc(), source()).continuing(),
    ] {
        assert!(matches!(put.await.unwrap_err(), Error::SourceReadOnce));
    }
    assert_eq!(peer.asked().len(), 0);
}
