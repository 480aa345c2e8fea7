//! What is passed on is what was asked, byte for byte

use http::Method;
use serde_json::json;
use tintype_testing::FakeHomeserver;

use super::{
    in_front_of,
    upstream::{Upstream, answer},
};

#[tokio::test]
async fn the_target_is_passed_on_byte_for_byte() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    for target in [
        "/_matrix/client/v3/sync",
        "/_matrix/client/v3/sync?",
        "/_matrix/client/v3/sync?timeout=30000&since=s1_2~3",
        "/_matrix/client/v3/sync?a=b?c=d&&=&e",
        "/_matrix/client/v3/sync?filter=%7B%22room%22%3a{}%7D",
        "/_matrix/client/v3/rooms/%21a%3Ab/messages",
        "/_matrix/client/v3/rooms/!a:b/send/m.room.message/1%2F2",
        "/_matrix/client/v3/rooms/!a:b/state/m.room.name//",
        "/_matrix/client/v3/rooms/!a:b/state/x/%2e%2E",
        "/_matrix/client/v3/rooms/!a:b/state/x/..",
        "/_matrix/client/v3/rooms/!a:b/state/x/a%2fb%25c+d%20e;f=g",
        "/_matrix/client/v3//login",
        "/_matrix/client/v3/profile/@%C3%A4:b",
        "/_matrix/federation/v1/send/1?x=%ff",
        "/_matrix/key/v2/server/",
        "/_synapse/client/saml2/metadata.xml",
    ] {
        let mut client = server.connect().await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n")).await;
        let (mut homeserver, head) = upstream.request().await;
        // So that the next request has a connection of its own, too.
        homeserver.send(answer(200, "Connection: close\r\n", "")).await;

        assert_eq!(head.line(), format!("GET {target}"));
        assert_eq!(client.response().await.status(), 200);
    }
}

#[tokio::test]
async fn method_and_body_are_passed_on_as_they_are() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    let body = b"\0 not {even} JSON \xff\r\n\r\n";
    for method in ["POST", "PUT", "DELETE", "PATCH", "GET", "MELT"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        homeserver.answers(method.clone(), "/_matrix/client/v3/anything", 200, &json!({ "ok": true }));

        let request = server.anonymous().request(method.clone(), "/_matrix/client/v3/anything").body(&body[..]);
        let answer = request.await;

        assert_eq!(answer.json(), json!({ "ok": true }), "{method}");
        let asked = homeserver.asked().pop().unwrap();
        assert_eq!((asked.method, &asked.body[..]), (method, &body[..]));
    }
}

#[tokio::test]
async fn an_answer_is_passed_back_as_it_is() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    for status in [200, 302, 400, 401, 403, 404, 429, 500, 503] {
        homeserver.always_answers(status, &[("x-answer", "a  b"), ("location", "https://x/")], "{ \"a\" : 1}");

        let answer = server.anonymous().get("/_matrix/client/v3/login").await;

        assert_eq!(answer.status(), status);
        assert_eq!(answer.bytes(), "{ \"a\" : 1}");
        assert_eq!(answer.header("x-answer"), "a  b");
        assert_eq!(answer.header("location"), "https://x/");
    }
}

#[tokio::test]
async fn what_would_be_answered_for_a_server_without_homeserver_is_passed_on() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    for path in ["/_matrix/key/v2/server", "/_matrix/federation/v1/version", "/_matrix/client/v3/account/whoami"] {
        for method in [Method::GET, Method::POST] {
            server.anonymous().request(method.clone(), path).await;

            let asked = homeserver.asked().pop().unwrap();
            assert_eq!((asked.method, asked.target), (method, path.to_owned()));
        }
    }
}

#[tokio::test]
async fn a_homeserver_below_a_path_is_asked_there() {
    let homeserver = FakeHomeserver::start().await;
    let url = homeserver.url();
    let config = format!("[[server]]\nname = 'example.org'\nhomeserver = '{url}/below/'\npass_through = true\n");
    let server = tintype_testing::TestServer::with(&config).await;

    server.anonymous().get("/_matrix/client/v3/login?a").await;

    assert_eq!(homeserver.asked()[0].target, "/below/_matrix/client/v3/login?a");
}

#[tokio::test]
async fn each_servers_requests_go_to_its_own_homeserver() {
    let (one, two) = (FakeHomeserver::start().await, FakeHomeserver::start().await);
    one.answers(Method::GET, "/_matrix/client/v3/login", 200, &json!({ "one": 1 }));
    two.answers(Method::GET, "/_matrix/client/v3/login", 200, &json!({ "two": 2 }));
    let server = tintype_testing::TestServer::with(&format!(
        "[[server]]\nname = 'one.example'\nhomeserver = '{}'\npass_through = true\n\
         [[server]]\nname = 'two.example'\nhomeserver = '{}'\npass_through = true\n\
         [[server]]\nname = 'three.example'\nhomeserver = '{}'\n[[server]]\nname = 'four.example'\n",
        one.url(),
        two.url(),
        two.url(),
    ))
    .await;
    let login = |host: &str| server.anonymous().at_host(host).get("/_matrix/client/v3/login");

    assert_eq!(login("one.example").await.json(), json!({ "one": 1 }));
    assert_eq!(login("TWO.example:443").await.json(), json!({ "two": 2 }));
    for host in ["three.example", "four.example", "five.example"] {
        assert_eq!(login(host).await.error(), (404, "M_UNRECOGNIZED".to_owned()), "{host}");
    }
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
}
