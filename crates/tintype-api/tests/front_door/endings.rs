//! Clients that leave, and homeservers that are away

use tintype_testing::{FakeHomeserver, TestServer, until};

use super::{
    in_front_of,
    upstream::{Upstream, answer},
};

const SYNC: &str = "/_matrix/client/v3/sync?timeout=30000";

async fn counted(server: &TestServer, outcome: &str) {
    let name = format!("tintype_http_passed_through_total{{outcome=\"{outcome}\"}}");
    until("it is counted", async || server.metric(&name).await == 1).await;
    assert_eq!(server.metric("tintype_http_passing_through").await, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_request() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;
    client.send(format!("GET {SYNC} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (homeserver, _) = upstream.request().await;

    drop(client);

    homeserver.ended().await;
    counted(&server, "left").await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_answer_ends_it() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().get(SYNC).open());
    let (mut homeserver, _) = upstream.request().await;
    homeserver.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut client = client.await.unwrap();
    client.bytes(5).await;

    drop(client);

    homeserver.ended().await;
    counted(&server, "left").await;
}

#[tokio::test]
async fn a_client_that_breaks_its_body_off_ends_the_request() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().post(SYNC).feed(10));
    let (mut homeserver, _) = upstream.request().await;
    let mut client = client.await.unwrap();
    client.send("hello").await;
    homeserver.bytes(5).await;

    client.break_off();

    homeserver.ended().await;
}

#[tokio::test]
async fn a_body_in_chunks_that_breaks_off_is_not_passed_on_as_whole() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().post(SYNC).feed_chunked());
    let (mut homeserver, _) = upstream.request().await;
    let mut client = client.await.unwrap();
    client.send("hello").await;
    homeserver.bytes(10).await;

    client.break_off();

    assert_eq!(homeserver.rest().await, "");
}

#[tokio::test]
async fn a_homeserver_that_is_away_is_a_bad_gateway() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    homeserver.stop().await;

    let answer = server.anonymous().get(SYNC).await;

    assert_eq!(answer.error(), (502, "M_UNKNOWN".to_owned()));
    assert_eq!(answer.json()["error"], "The homeserver cannot be reached; the request was not passed on");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    counted(&server, "unreachable").await;
}

#[tokio::test]
async fn a_homeserver_that_hangs_up_is_not_asked_again() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let client = tokio::spawn(server.anonymous().get(SYNC).into_future());
    let (homeserver, _) = upstream.request().await;

    drop(homeserver);

    let answer = client.await.unwrap();
    assert_eq!(answer.error(), (502, "M_UNKNOWN".to_owned()));
    assert_eq!(answer.json()["error"], "The homeserver did not answer; the request may have taken effect");
    assert!(upstream.is_left_alone().await);
    counted(&server, "unanswered").await;
}

#[tokio::test]
async fn a_connection_that_the_homeserver_closed_meanwhile_does_no_harm() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;
    client.send(format!("GET {SYNC} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (mut homeserver, _) = upstream.request().await;
    homeserver.send(answer(200, "Connection: close\r\n", "one")).await;
    assert_eq!(client.response().await.bytes(), "one");
    homeserver.ended().await;

    client.send(format!("GET {SYNC} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (mut homeserver, _) = upstream.request().await;
    homeserver.send(answer(200, "", "two")).await;

    assert_eq!(client.response().await.bytes(), "two");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_cut() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let upstream = Upstream::start().await;
        let server = upstream.front("").await;
        let client = tokio::spawn(server.anonymous().get(SYNC).open());
        let (mut homeserver, _) = upstream.request().await;
        homeserver.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello")).await;
        let client = client.await.unwrap();

        drop(homeserver);

        client.aborted().await;
        counted(&server, "cut").await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_bad_gateway() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    for said in ["hello\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"] {
        let client = tokio::spawn(server.anonymous().get(SYNC).into_future());
        let (mut homeserver, _) = upstream.request().await;

        homeserver.send(said).await;

        assert_eq!(client.await.unwrap().error(), (502, "M_UNKNOWN".to_owned()), "{said:?}");
    }
}
