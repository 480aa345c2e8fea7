//! Connections that do not behave as a request and its answer would.

use tintype_testing::{Client, TestServer, paths, pattern, until};

fn get(path: &str, user: &Client) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", user.token())
}

/// More than the buffers of a connection take, so that a client that does not read stops the server.
const MORE_THAN_BUFFERS: usize = 40 * 1024 * 1024;

async fn open_connections(server: &TestServer) -> u64 {
    server.metric("tintype_http_connections").await
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_order() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let (first, second) = (alice.upload(pattern(200_000)).await, alice.upload("second").await);
    let mut connection = server.connect().await;

    let missing = "/_matrix/client/v1/media/download/localhost/missing";
    let requests = [paths::download(&first), missing.to_owned(), paths::download(&second)];
    connection.send(requests.map(|path| get(&path, &alice)).concat()).await;

    assert!(*connection.response().await.bytes() == pattern(200_000));
    assert_eq!(connection.response().await.status(), 404);
    assert_eq!(connection.response().await.bytes(), "second");
}

#[tokio::test]
async fn an_error_does_not_end_the_connection() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    let mut connection = server.connect().await;

    connection.send("GET /_matrix/client/v1/media/config HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(connection.response().await.status(), 401);
    connection.send(get("/nothing", &alice)).await;
    assert_eq!(connection.response().await.status(), 404);
    connection.send("PUT /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(connection.response().await.status(), 404);
    connection.send(get(&format!("{}x", paths::download(&mxc)), &alice)).await;
    assert_eq!(connection.response().await.status(), 404);
    connection.send(get(&paths::download(&mxc), &alice)).await;
    assert_eq!(connection.response().await.bytes(), "hello");
}

#[tokio::test]
async fn http_1_0_is_spoken_too() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    let mut connection = server.connect().await;

    connection.send(get(&paths::download(&mxc), &alice).replace("HTTP/1.1", "HTTP/1.0")).await;

    let answer = connection.rest().await;
    assert!(answer.starts_with(b"HTTP/1.0 200") && answer.ends_with(b"\r\n\r\nhello"), "{answer:?}");
}

#[tokio::test]
async fn what_is_not_http_is_cut_off_and_harms_nobody() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /_matrix/media/v3/upload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /_matrix/media/v3/upload HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /_matrix/media/v3/upload HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
    ] {
        let mut connection = server.connect().await;
        connection.send(garbage).await;
        let answer = connection.rest().await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
}

#[tokio::test]
async fn a_head_without_an_end_is_not_collected() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;

    connection.send("GET / HTTP/1.1\r\n").await;
    connection.send(format!("X: {}\r\n", "x".repeat(600_000))).await;

    let answer = connection.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed() {
    let server = TestServer::with("http.header_timeout = '50ms'").await;
    let mut silent = server.connect().await;
    let mut halting = server.connect().await;

    halting.send("GET / HTTP/1.1\r\nHost: loc").await;

    silent.rest().await;
    halting.rest().await;
    until("the connections are gone", async || open_connections(&server).await == 0).await;
}

#[tokio::test]
async fn connections_that_send_nothing_do_not_shut_others_out() {
    let server = TestServer::with("http = { header_timeout = '200ms', max_connections = 20 }").await;
    let alice = server.user("alice").await;

    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(server.connect().await);
    }

    assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let server = TestServer::with("http.write_stall_timeout = '100ms'").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(MORE_THAN_BUFFERS)).await;
    let mut connection = server.connect().await;

    connection.send(get(&paths::download(&mxc), &alice)).await;
    assert_eq!(connection.head().await.0, 200);

    until("the connection is gone", async || open_connections(&server).await == 0).await;
    assert!(connection.rest().await.len() < MORE_THAN_BUFFERS);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing_open() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(MORE_THAN_BUFFERS)).await;
    let mut connection = server.connect().await;

    connection.send(get(&paths::download(&mxc), &alice)).await;
    connection.head().await;
    drop(connection);

    until("the connection is gone", async || open_connections(&server).await == 0).await;
}
