//! Connections that are not made, and answers that are not Matrix's.

use std::time::Duration;

use tintype_client::{Error, TransportErrorKind};

use crate::{
    peer::{Act, Peer},
    server::builder,
};

#[tokio::test]
async fn a_server_that_nobody_runs_cannot_be_reached() {
    // Bound, so that nobody else gets the port, and not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let client = builder(&format!("http://{}", socket.local_addr().unwrap()), "token").build().unwrap();

    let error = client.create().await.unwrap_err();

    let Error::Transport(transport) = &error else { panic!("{error:?}") };
    assert_eq!(transport.kind, TransportErrorKind::Connect);
    assert!(error.is_transient());
    assert!(!format!("{error} {error:?}").contains("/_matrix"));
}

#[tokio::test]
async fn a_proxys_page_is_a_status_and_nothing_more() {
    let page = "<html>502 Bad Gateway</html>";
    let peer = Peer::start([Act::answer("502 Bad Gateway", "Retry-After: 9\r\n", page)]).await;

    let error = peer.client().create().await.unwrap_err();

    assert!(matches!(error, Error::Status { status: 502, .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(9)));
    assert!(error.is_transient());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
    let peer = Peer::start([Act::raw("").and_hang(), Act::raw("").and_hang()]).await;
    let client = peer.builder().idle_timeout(Duration::from_millis(500)).build().unwrap();

    for error in [client.create().await.map(drop), client.upload("x").await.map(drop)].map(Result::unwrap_err) {
        let Error::Transport(transport) = &error else { panic!("{error:?}") };
        assert_eq!(transport.kind, TransportErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn a_redirect_that_would_change_the_request_is_not_followed() {
    for status in ["301 Moved Permanently", "302 Found", "303 See Other"] {
        let peer = Peer::start([Act::answer(status, "Location: /elsewhere\r\n", "")]).await;
        let error = peer.client().upload("x").await.unwrap_err();
        assert!(matches!(error, Error::Status { .. }), "{error:?}");
        assert_eq!(peer.methods(), ["POST"]);
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read() {
    let body = "x".repeat(1024 * 1024);
    let peer = Peer::start([Act::answer("200 OK", "", &body), Act::answer("400 Bad Request", "", &body)]).await;

    assert!(matches!(peer.client().create().await.unwrap_err(), Error::Answer(_)));
    assert!(matches!(peer.client().create().await.unwrap_err(), Error::Status { status: 400, .. }));
}
