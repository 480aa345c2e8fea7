//! `POST /_matrix/media/v1/create`

use std::time::{Duration, SystemTime};

use tintype_client::{Error, ErrorCode};
use tintype_testing::START;

use crate::{
    peer::{Act, Peer},
    server::Server,
};

#[tokio::test]
async fn a_reservation_has_a_uri_and_an_end() {
    let server = Server::with("limits.unused_expires_after = '2h'").await;

    let reservation = server.client("alice").await.create().await.unwrap();

    let start = Duration::from_millis(START.as_millis().try_into().unwrap());
    let end = SystemTime::UNIX_EPOCH + start + Duration::from_hours(2);
    assert_eq!(reservation.mxc.server_name, "localhost");
    assert_eq!(reservation.unused_expires_at, Some(end));
}

#[tokio::test]
async fn a_reservation_may_have_no_end() {
    let peer = Peer::start([Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/abc"}"#)]).await;

    let reservation = peer.client().create().await.unwrap();

    assert_eq!(reservation.mxc.to_string(), "mxc://example.org/abc");
    assert_eq!(reservation.unused_expires_at, None);
    let asked = &peer.asked()[0];
    assert_eq!((asked.line.as_str(), &asked.body[..]), ("POST /_matrix/media/v1/create HTTP/1.1", &b"{}"[..]));
}

#[tokio::test]
async fn too_many_reservations_are_refused_with_a_time_to_come_back() {
    let server = Server::with("limits.max_pending_uploads = 1").await;
    let alice = server.client("alice").await;
    alice.create().await.unwrap();

    let error = alice.create().await.unwrap_err();

    assert_eq!((error.status(), error.errcode()), (Some(429), Some(&ErrorCode::LIMIT_EXCEEDED)));
    assert!(error.retry_after().is_some() && error.is_transient());
}

#[tokio::test]
async fn a_uri_that_cannot_be_one_is_not_taken() {
    let peer = Peer::start([Act::answer("200 OK", "", r#"{"content_uri":"https://example.org/abc"}"#)]).await;

    assert!(matches!(peer.client().create().await.unwrap_err(), Error::Answer(_)));
}
