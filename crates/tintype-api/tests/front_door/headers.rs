//! What is said of a request and of an answer on the way

use http::{HeaderMap, Method};
use serde_json::json;
use tintype_testing::FakeHomeserver;

use super::{
    in_front_of,
    upstream::{Upstream, answer},
};

const LOGIN: &str = "/_matrix/client/v3/login";
const UNTRUSTED: &str = "http.trusted_proxies = []";

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("the header is text")).collect()
}

#[tokio::test]
async fn the_homeserver_learns_who_asks_and_where() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, UNTRUSTED).await;

    server.anonymous().at_host("matrix.example.org:8448").get(LOGIN).header("user-agent", "A/1").await;

    let headers = &homeserver.asked()[0].headers;
    assert_eq!(values(headers, "host"), ["matrix.example.org:8448"]);
    assert_eq!(values(headers, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(headers, "x-forwarded-host"), ["matrix.example.org:8448"]);
    assert_eq!(values(headers, "user-agent"), ["A/1"]);
}

#[tokio::test]
async fn what_a_client_claims_of_its_way_is_replaced() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, UNTRUSTED).await;

    let mut request = server.anonymous().get(LOGIN);
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "203.0.113.8, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "elsewhere.example"),
        ("forwarded", "for=203.0.113.7"),
        ("x-real-ip", "203.0.113.7"),
    ] {
        request = request.header(name, value);
    }
    request.await;

    let headers = &homeserver.asked()[0].headers;
    assert_eq!(values(headers, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(headers, "x-forwarded-host"), ["localhost"]);
    assert!(values(headers, "forwarded").is_empty() && values(headers, "x-real-ip").is_empty(), "{headers:?}");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_way_is_passed_on() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "http.trusted_proxies = ['127.0.0.0/8']").await;

    server
        .anonymous()
        .get(LOGIN)
        .header("x-forwarded-for", "198.51.100.1, 203.0.113.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "matrix.example.org")
        .await;

    let headers = &homeserver.asked()[0].headers;
    // The client before the proxy; what that client wrote is hearsay.
    assert_eq!(values(headers, "x-forwarded-for"), ["203.0.113.7"]);
    assert_eq!(values(headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(headers, "x-forwarded-host"), ["matrix.example.org"]);
}

#[tokio::test]
async fn the_host_in_the_target_is_the_one_that_is_meant() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    let mut client = server.connect().await;

    client.send(format!("GET http://one.example{LOGIN} HTTP/1.1\r\nHost: two.example\r\n\r\n")).await;
    client.response().await;

    assert_eq!(values(&homeserver.asked()[0].headers, "host"), ["one.example"]);
    assert_eq!(homeserver.asked()[0].target, LOGIN);
}

#[tokio::test]
async fn of_two_hosts_the_homeserver_hears_of_the_one_that_was_looked_at() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    let mut client = server.connect().await;

    client.send(format!("GET {LOGIN} HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n\r\n")).await;
    client.response().await;

    assert_eq!(values(&homeserver.asked()[0].headers, "host"), ["one.example"]);
}

#[tokio::test]
async fn what_is_between_neighbours_is_passed_on_in_neither_direction() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;

    client
        .send(format!(
            "GET {LOGIN} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, Host\r\nX-Mine: 1\r\nKeep-Alive: 1\r\n\
             TE: trailers\r\nProxy-Authorization: x\r\nProxy-Connection: x\r\nTrailer: x\r\nX-Theirs: 2\r\n\r\n"
        ))
        .await;
    let (mut homeserver, head) = upstream.request().await;
    let said = "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nX-End: 2\r\n";
    homeserver.send(answer(200, said, "hello")).await;
    let answer = client.response().await;

    for name in ["connection", "x-mine", "keep-alive", "te", "proxy-authorization", "proxy-connection", "trailer"] {
        assert_eq!(head.values(name), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(head.values("x-theirs"), ["2"]);
    assert_eq!(head.values("host"), ["a"]);
    for name in ["connection", "x-hop", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(answer.header("x-end"), "2");
    assert_eq!(answer.bytes(), "hello");
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;

    let head = format!("POST {LOGIN} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{head}5\r\nhello\r\n0\r\n\r\n")).await;
    let (mut homeserver, head) = upstream.request().await;

    assert_eq!(head.values("content-length"), Vec::<&str>::new());
    assert_eq!(head.values("transfer-encoding"), ["chunked"]);
    assert_eq!(homeserver.bytes(10).await, "5\r\nhello\r\n");
}

#[tokio::test]
async fn the_homeserver_says_for_itself_who_may_read_its_answers() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    homeserver.always_answers(200, &[("access-control-allow-origin", "https://app.example")], "{}");

    let answer = server.anonymous().get(LOGIN).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-allow-methods"), "");

    homeserver.always_answers(200, &[], "{}");
    let answer = server.anonymous().get("/_matrix/federation/v1/query/profile").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn browsers_are_answered_by_whoever_has_the_endpoint() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.always_answers(200, &[("access-control-allow-origin", "*"), ("access-control-allow-methods", "X")], "");
    let server = in_front_of(&homeserver, "").await;

    let theirs = server.anonymous().request(Method::OPTIONS, LOGIN).await;
    assert_eq!((theirs.status(), theirs.header("access-control-allow-methods")), (200, "X"));

    let ours = server.anonymous().request(Method::OPTIONS, "/_matrix/media/v3/upload").await;
    assert_eq!(ours.status(), 204);
    assert_eq!(homeserver.asked().len(), 1);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;

    client.send(format!("GET {LOGIN} HTTP/1.0\r\n\r\n")).await;
    let (mut homeserver, head) = upstream.request().await;
    homeserver.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;

    let answer = client.rest().await;
    let answer = std::str::from_utf8(&answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
    assert_eq!(head.values("host").len(), 1);
}

#[tokio::test]
async fn an_answer_to_head_keeps_the_length_that_it_says() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;

    client.send(format!("HEAD {LOGIN} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (mut homeserver, head) = upstream.request().await;
    homeserver.send("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n").await;

    assert_eq!(head.line(), format!("HEAD {LOGIN}"));
    assert_eq!(client.head().await.1["content-length"], "77");
}

#[tokio::test]
async fn the_rates_and_sizes_of_media_are_not_those_of_what_is_passed_on() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::POST, LOGIN, 200, &json!({}));
    let few = "{ per_second = 1, burst = 1 }";
    let limits = ["create", "upload", "download", "thumbnail", "authenticate", "serve_server", "fetch_server"];
    let limits = limits.map(|rate| format!("limits.rates.{rate} = {few}\n")).concat();
    let server = in_front_of(&homeserver, &format!("limits.max_upload_size = '1KiB'\n{limits}")).await;

    for _ in 0..20 {
        let answer = server.anonymous().with_token("a_token").post(LOGIN).body("x".repeat(100_000)).await;
        assert_eq!(answer.status(), 200);
    }
    assert!(homeserver.asked().iter().all(|asked| asked.body.len() == 100_000));
}
