//! TLS of our own.

use std::time::Duration;

use tintype_testing::{TestServer, paths, pattern, tls::Certificate, until};

const HOST: &str = "near.localhost";

async fn server(config: &str) -> TestServer {
    TestServer::federating("near", config).await
}

#[tokio::test]
async fn what_is_uploaded_over_tls_is_downloaded_over_tls() {
    let server = server("").await;
    let alice = server.over_tls(&server.user("alice").await);
    let body = pattern(3_000_000);

    let mxc = alice.upload(body.clone()).await;

    assert_eq!(mxc.server_name, *server.name());
    assert!(server.name().as_str().starts_with("near.localhost:"));
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == body);
}

#[tokio::test]
async fn what_is_uploaded_over_tls_is_downloaded_without() {
    let server = server("").await;
    let alice = server.user("alice").await;

    let mxc = server.over_tls(&alice).upload("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn http_without_tls_is_refused() {
    let server = server("").await;
    let mut connection = server.connect_to_tls_port().await;

    connection.send("GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    let answer = connection.rest().await;
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let server = server("http.header_timeout = '50ms'").await;
    let mut silent = server.connect_to_tls_port().await;
    let mut halting = server.connect_to_tls_port().await;

    halting.send(b"\x16\x03\x01\x02\x00\x01\x00").await;

    silent.rest().await;
    halting.rest().await;
    until("the connections are gone", async || server.metric("tintype_http_connections").await == 0).await;
}

#[tokio::test]
async fn who_says_nothing_holds_up_nobody() {
    let server = server("").await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(server.connect_to_tls_port().await);
    }

    let alice = server.over_tls(&server.user("alice").await);

    assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_the_server_runs() {
    let server = server("").await;
    let first = server.shown_certificate().await;
    let renewed = Certificate::of(&[HOST]);

    server.write_certificate(&renewed);
    assert_eq!(server.shown_certificate().await, first, "the files are not looked at again yet");
    server.advance(Duration::from_mins(1));

    assert_eq!(server.shown_certificate().await, renewed.der);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_changes_nothing() {
    let server = server("").await;
    let first = server.shown_certificate().await;
    let [one, another] = [Certificate::of(&[HOST]), Certificate::of(&[HOST])];
    let broken = [
        Certificate { chain_pem: String::new(), ..one.clone() },
        Certificate { key_pem: "garbage".to_owned(), ..one.clone() },
        Certificate { key_pem: another.key_pem, ..one.clone() },
    ];

    for certificate in broken {
        server.write_certificate(&certificate);
        server.advance(Duration::from_mins(1));
        assert_eq!(server.shown_certificate().await, first);
    }
    server.write_certificate(&one);
    server.advance(Duration::from_mins(1));

    assert_eq!(server.shown_certificate().await, one.der);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let server = server("http.write_stall_timeout = '100ms'").await;
    let alice = server.over_tls(&server.user("alice").await);
    let mxc = alice.upload(pattern(40 * 1024 * 1024)).await;

    let reading = alice.get(paths::download(&mxc)).open().await;

    assert_eq!(reading.status(), 200);
    until("the connection is gone", async || server.metric("tintype_http_connections").await == 0).await;
    reading.aborted().await;
}
