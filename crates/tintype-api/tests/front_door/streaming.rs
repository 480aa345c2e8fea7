//! Bodies pass piece by piece, in both directions

use tintype_testing::{pattern, until};

use super::upstream::{Upstream, answer};

const SYNC: &str = "/_matrix/client/v3/sync";

#[tokio::test]
async fn an_answer_is_passed_on_while_it_comes() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().get(SYNC).open());
    let (mut homeserver, _) = upstream.request().await;

    homeserver.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut client = client.await.unwrap();
    assert_eq!(client.bytes(5).await, "hello");
    homeserver.send("world").await;

    assert_eq!(client.whole().await, "world");
}

#[tokio::test]
async fn a_body_is_passed_on_while_it_comes() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().post(SYNC).feed(10));
    let (mut homeserver, head) = upstream.request().await;
    let mut client = client.await.unwrap();

    client.send("hello").await;
    assert_eq!(homeserver.bytes(5).await, "hello");
    client.send("world").await;
    assert_eq!(homeserver.bytes(5).await, "world");
    homeserver.send(answer(200, "", "thanks")).await;

    assert_eq!(client.response().await.bytes(), "thanks");
    assert_eq!(head.values("content-length"), ["10"]);
    assert_eq!(head.values("expect"), Vec::<&str>::new());
}

#[tokio::test]
async fn a_body_in_chunks_is_passed_on_in_chunks() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().post(SYNC).feed_chunked());
    let (mut homeserver, _) = upstream.request().await;
    let mut client = client.await.unwrap();

    client.send("hello").await;
    assert_eq!(homeserver.bytes(10).await, "5\r\nhello\r\n");
    let client = tokio::spawn(client.finish());
    assert_eq!(homeserver.bytes(5).await, "0\r\n\r\n");
    homeserver.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;

    assert_eq!(client.await.unwrap().status(), 200);
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    let upstream = Upstream::start().await;
    let server = upstream.front("limits.max_upload_size = '1MiB'").await;
    let body = pattern(20 * 1024 * 1024);
    let client = tokio::spawn(server.anonymous().post(SYNC).body(body.clone()).into_future());
    let (mut homeserver, _) = upstream.request().await;

    let received = homeserver.bytes(body.len()).await;
    homeserver.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    homeserver.send(&received).await;

    assert!(received == body);
    assert!(*client.await.unwrap().bytes() == body);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_homeserver_up() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().get(SYNC).open());
    let (mut homeserver, _) = upstream.request().await;
    homeserver.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
    let client = client.await.unwrap();

    // More than all buffers between the two hold would only go through if somebody gathered it.
    assert!(homeserver.send_what_is_taken(200 * 1024 * 1024).await < 100 * 1024 * 1024);
    drop(client);
    homeserver.ended().await;
}

#[tokio::test]
async fn an_answer_that_came_before_the_body_was_read_is_heard() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let body = pattern(40 * 1024 * 1024);
    let client = tokio::spawn(server.anonymous().post(SYNC).body(body).into_future());
    let (mut homeserver, _) = upstream.request().await;

    homeserver.send(answer(413, "Connection: close\r\n", "too large")).await;

    let answer = client.await.unwrap();
    assert_eq!((answer.status(), &answer.bytes()[..]), (413, &b"too large"[..]));
}

#[tokio::test]
async fn connections_to_the_homeserver_are_used_again() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;
    let request = format!("GET {SYNC} HTTP/1.1\r\nHost: a\r\n\r\n");

    client.send(&request).await;
    let (mut homeserver, _) = upstream.request().await;
    homeserver.send(answer(200, "", "one")).await;
    assert_eq!(client.response().await.bytes(), "one");
    client.send(&request).await;
    homeserver.head().await;
    homeserver.send(answer(200, "", "two")).await;

    assert_eq!(client.response().await.bytes(), "two");
    assert!(upstream.is_left_alone().await);
}

#[tokio::test]
async fn what_is_passed_on_is_counted() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().get(SYNC).into_future());
    let (mut homeserver, _) = upstream.request().await;
    assert_eq!(server.metric("tintype_http_passing_through").await, 1);

    homeserver.send(answer(200, "", "hello")).await;
    client.await.unwrap();

    until("it is counted", async || {
        server.metric("tintype_http_passed_through_total{outcome=\"answered\"}").await == 1
    })
    .await;
    assert_eq!(server.metric("tintype_http_passing_through").await, 0);
    until("it is counted", async || server.requests("passed_through").await == 1).await;
}
