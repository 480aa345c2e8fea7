//! `POST /_matrix/media/v3/upload`

use std::io::{self, Cursor};

use tintype_client::{Error, ErrorCode, Source};
use tintype_testing::{paths, pattern};

use crate::{
    peer::{Act, Peer},
    server::Server,
    told::Told,
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

#[tokio::test]
async fn what_is_uploaded_is_what_comes_back_whatever_it_is_read_from() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pattern(LONG)).unwrap();
    let pieces = pattern(LONG).chunks(100_000).map(|piece| Ok(piece.to_vec())).collect::<Vec<_>>();

    for source in [
        Source::from(pattern(LONG)),
        Source::file(file.path()).await.unwrap(),
        Source::reader(Cursor::new(pattern(LONG))),
        Source::reader(Cursor::new(pattern(LONG))).with_length(LONG as u64),
        Source::stream(futures_util::stream::iter(pieces)),
    ] {
        let mxc = alice.upload(source).await.unwrap();
        assert!(alice.download(&mxc).await.unwrap().bytes(LONG).await.unwrap() == pattern(LONG));
    }
}

#[tokio::test]
async fn nothing_is_something_to_upload_too() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    for source in [Source::from(""), Source::reader(io::Cursor::new("")), Source::from("").with_length(0)] {
        let mxc = alice.upload(source).await.unwrap();
        assert_eq!(alice.download(&mxc).await.unwrap().bytes(10).await.unwrap(), "");
    }
}

#[tokio::test]
async fn type_and_name_go_with_it() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    let mxc = alice.upload("x").content_type("text/plain; charset=utf-8").filename("a b/ü&c=d.txt").await.unwrap();

    let download = alice.download(&mxc).await.unwrap();
    assert_eq!(download.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(download.filename(), Some("a b/ü&c=d.txt"));
}

#[tokio::test]
async fn a_refusal_is_the_servers_own_words() {
    let server = Server::with("limits.max_upload_size = '1KiB'").await;
    let alice = server.client("alice").await;
    let guest =
        crate::server::builder(&server.relay.url(), server.tintype.guest("guest").await.token()).build().unwrap();
    let stranger = crate::server::builder(&server.relay.url(), "unknown").build().unwrap();

    let too_large = alice.upload(pattern(1025)).await.unwrap_err();
    let not_for_guests = guest.upload("x").await.unwrap_err();
    let unknown_token = stranger.upload("x").await.unwrap_err();

    assert_eq!((too_large.status(), too_large.errcode()), (Some(413), Some(&ErrorCode::TOO_LARGE)));
    assert_eq!(not_for_guests.errcode(), Some(&ErrorCode::GUEST_ACCESS_FORBIDDEN));
    assert_eq!((unknown_token.status(), unknown_token.errcode()), (Some(401), Some(&ErrorCode::UNKNOWN_TOKEN)));
    for error in [too_large, not_for_guests, unknown_token] {
        assert!(!error.is_transient());
        assert!(!error.matrix().unwrap().text.is_empty());
    }
}

#[tokio::test]
async fn a_source_that_is_not_as_long_as_announced_is_not_uploaded() {
    let server = Server::start().await;
    let alice = server.client("alice").await;

    for (actual, announced) in [(LONG - 1, LONG), (LONG + 1, LONG), (1, 0), (0, 1)] {
        let source = Source::reader(Cursor::new(pattern(actual))).with_length(announced as u64);
        let error = alice.upload(source).await.unwrap_err();
        assert!(matches!(error, Error::SourceLength { .. }), "{actual} of {announced}: {error:?}");
    }

    server.tintype.holds_nothing().await;
}

#[tokio::test]
async fn a_source_that_fails_is_not_uploaded_and_says_why() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let pieces = [Ok(pattern(100_000)), Err(io::Error::other("the camera is gone"))];

    let error = alice.upload(Source::stream(futures_util::stream::iter(pieces))).await.unwrap_err();

    let Error::Source(cause) = error else { panic!("{error:?}") };
    assert_eq!(cause.to_string(), "the camera is gone");
    server.tintype.holds_nothing().await;
}

#[tokio::test]
async fn progress_is_told_up_to_the_end() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let told = Told::default();

    let source = Source::reader(Cursor::new(pattern(LONG))).with_length(LONG as u64);
    alice.upload(source).on_event(told.listener()).await.unwrap();

    let progress = told.progress();
    assert!(progress.len() > 10 && progress.is_sorted(), "{progress:?}");
    assert_eq!(progress.last(), Some(&(LONG as u64)));
}

#[tokio::test]
async fn an_upload_is_sent_only_once_whatever_happens() {
    let peer = Peer::start([Act::break_off(1000)]).await;

    let error = peer.client().upload(pattern(LONG)).await.unwrap_err();

    assert!(matches!(error, Error::Transport(_)), "{error:?}");
    assert_eq!(peer.methods(), ["POST"]);
    assert_eq!(peer.asked()[0].header("content-length"), LONG.to_string());
}

#[tokio::test]
async fn an_answer_without_a_usable_uri_is_no_success() {
    for body in [r#"{"content_uri":"mxc://peer/../x"}"#, "{}", "null", "<html>"] {
        let peer = Peer::start([Act::answer("200 OK", "", body)]).await;
        let error = peer.client().upload("x").await.unwrap_err();
        assert!(matches!(error, Error::Answer(_)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn anybody_with_the_uri_sees_it_as_the_server_gives_it() {
    let server = Server::start().await;

    let mxc = server.client("alice").await.upload("hello").await.unwrap();

    let bob = server.tintype.user("bob").await;
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "hello");
}
