//! Media that is asked for before it is there.

use std::time::{Duration, Instant};

use tintype_client::{ErrorCode, Resumable, Thumbnail};
use tintype_testing::pictures;

use crate::{
    peer::{Act, Peer},
    server::{Server, mxc},
    told::Told,
};

/// Never reached in a test that passes.
const LONG_ENOUGH: Duration = Duration::from_mins(1);

fn not_yet(headers: &str) -> Act {
    Act::refuse("504 Gateway Timeout", headers, "M_NOT_YET_UPLOADED")
}

fn there() -> Act {
    Act::answer("200 OK", "", "there")
}

#[tokio::test]
async fn it_is_asked_for_until_it_is_there() {
    let peer = Peer::start([not_yet(""), not_yet(""), there()]).await;

    let download = peer.client().download(&mxc()).wait(LONG_ENOUGH).await.unwrap();

    assert_eq!(download.bytes(10).await.unwrap(), "there");
    assert_eq!(peer.asked().len(), 3);
    for asked in peer.asked() {
        let timeout = asked.line.split("timeout_ms=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let timeout: u64 = timeout.parse().unwrap();
        assert!((1..=20_000).contains(&timeout), "{}", asked.line);
    }
}

#[tokio::test]
async fn without_the_wish_to_wait_it_is_asked_for_once() {
    let peer = Peer::start([not_yet(""), there()]).await;

    let error = peer.client().download(&mxc()).timeout(Duration::from_millis(1500)).await.unwrap_err();

    assert_eq!(error.errcode(), Some(&ErrorCode::NOT_YET_UPLOADED));
    assert_eq!(peer.asked().len(), 1);
    assert!(peer.asked()[0].line.contains("?timeout_ms=1500 "), "{}", peer.asked()[0].line);
}

#[tokio::test]
async fn when_the_time_is_up_the_last_answer_is_the_error() {
    let peer = Peer::start(vec![not_yet(""); 100]).await;
    let begin = Instant::now();
    let wait = Duration::from_millis(300);

    let error = peer.client().download(&mxc()).wait(wait).await.unwrap_err();

    assert_eq!((error.status(), error.errcode()), (Some(504), Some(&ErrorCode::NOT_YET_UPLOADED)));
    assert!(begin.elapsed() >= wait);
    // A server that answers early is not asked without a pause.
    assert!(peer.asked().len() <= 5, "{}", peer.asked().len());
}

#[tokio::test]
async fn a_busy_server_is_given_the_time_it_asks_for() {
    let busy = Act::refuse("429 Too Many Requests", "Retry-After: 1\r\n", "M_LIMIT_EXCEEDED");
    let peer = Peer::start([busy, there()]).await;
    let told = Told::default();
    let begin = Instant::now();

    peer.client().download(&mxc()).wait(LONG_ENOUGH).on_event(told.listener()).await.unwrap();

    assert_eq!(told.paused(), [Duration::from_secs(1)]);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(peer.asked().len(), 2);
}

#[tokio::test]
async fn a_busy_server_that_wants_more_time_than_there_is_ends_the_wait() {
    let busy = Act::refuse("429 Too Many Requests", "Retry-After: 61\r\n", "M_LIMIT_EXCEEDED");
    let peer = Peer::start([busy, there()]).await;

    let error = peer.client().download(&mxc()).wait(LONG_ENOUGH).await.unwrap_err();

    assert_eq!(error.errcode(), Some(&ErrorCode::LIMIT_EXCEEDED));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(61)));
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn what_will_never_be_there_ends_the_wait() {
    let peer = Peer::start([not_yet(""), Act::refuse("404 Not Found", "", "M_NOT_FOUND"), there()]).await;

    let error = peer.client().download(&mxc()).wait(LONG_ENOUGH).await.unwrap_err();

    assert_eq!(error.errcode(), Some(&ErrorCode::NOT_FOUND));
    assert_eq!(peer.asked().len(), 2);
}

#[tokio::test]
async fn connections_that_break_are_made_again_while_there_is_time() {
    let peer = Peer::start([Act::break_off(0), not_yet(""), Act::break_off(0), there()]).await;

    peer.client().download(&mxc()).wait(LONG_ENOUGH).await.unwrap();

    assert_eq!(peer.asked().len(), 4);
}

#[tokio::test]
async fn there_may_be_all_the_time_in_the_world() {
    let peer = Peer::start([Act::break_off(0), not_yet(""), there()]).await;
    let client = peer.builder().idle_timeout(Duration::MAX).build().unwrap();

    client.download(&mxc()).timeout(Duration::MAX).wait(Duration::MAX).await.unwrap();

    assert_eq!(peer.asked().len(), 3);
}

#[tokio::test]
async fn a_download_and_a_thumbnail_wait_for_the_upload() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let mxc = alice.create().await.unwrap().mxc;
    let picture = pictures::png(100, 100);
    let early = alice.download(&mxc).timeout(Duration::ZERO).await.unwrap_err();

    let (downloaded, thumbnail, put) = tokio::join!(
        async { bob.download(&mxc).wait(LONG_ENOUGH).await.unwrap().bytes(1_000_000).await.unwrap() },
        async { bob.thumbnail(&mxc, Thumbnail::crop(32, 32)).wait(LONG_ENOUGH).await.unwrap().bytes(100_000).await },
        alice.put(&mxc, picture.clone()).content_type("image/png").resumable(Resumable::Never),
    );

    assert_eq!(early.errcode(), Some(&ErrorCode::NOT_YET_UPLOADED));
    put.unwrap();
    assert!(downloaded == picture);
    assert_eq!(pictures::look(&thumbnail.unwrap()), ("png", 32, 32));
}
