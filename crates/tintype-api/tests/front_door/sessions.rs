//! What ends sessions: what is remembered of their tokens is forgotten

use http::Method;
use serde_json::json;
use tintype_testing::{Client, FakeHomeserver, TestServer, paths, until};

use super::{
    in_front_of,
    upstream::{Upstream, answer},
};

const LOGOUT: &str = "/_matrix/client/v3/logout";
const CLOSE: &str = "Connection: close\r\nContent-Type: application/json\r\n";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// A server in front of a homeserver where Alice has two sessions and Bob one, all of which are remembered.
async fn remembered(homeserver: &FakeHomeserver) -> (TestServer, [Client; 3]) {
    let server = in_front_of(homeserver, "authentication.cache_time = '1h'").await;
    server.is_at_one_node("a token that was asked about is known to the node that asked");
    let tokens = [("alice", "alices"), ("alice", "alices_other"), ("bob", "bobs")];
    let clients = tokens.map(|(user, token)| {
        homeserver.log_in(user, token);
        server.anonymous().with_token(token)
    });
    for client in &clients {
        assert_eq!(client.get(paths::CONFIG).await.status(), 200);
    }
    (server, clients)
}

/// What the homeserver says of a token of Alice's.
fn alices() -> String {
    answer(200, CLOSE, "{\"user_id\": \"@alice:example.org\"}")
}

fn times_asked(homeserver: &FakeHomeserver) -> usize {
    homeserver.asked().iter().filter(|asked| asked.target == WHOAMI).count()
}

#[tokio::test]
async fn whatever_ends_sessions_makes_their_users_tokens_be_asked_about_anew() {
    for (method, path) in [
        (Method::POST, "/_matrix/client/v3/logout"),
        (Method::POST, "/_matrix/client/r0/logout"),
        (Method::POST, "/_matrix/client/v3/logout/all"),
        (Method::POST, "/_matrix/client/v3/log%6Fut"),
        (Method::DELETE, "/_matrix/client/v3/devices/DEVICE"),
        (Method::DELETE, "/_matrix/client/r0/devices/A%2FB"),
        (Method::POST, "/_matrix/client/v3/delete_devices"),
        (Method::POST, "/_matrix/client/v3/account/password"),
        (Method::POST, "/_matrix/client/v3/account/deactivate"),
    ] {
        let homeserver = FakeHomeserver::start().await;
        homeserver.answers(method.clone(), path, 200, &json!({}));
        let (_server, [alice, other, bob]) = remembered(&homeserver).await;

        assert_eq!(alice.request(method.clone(), path).body("{\"a\": 1}").await.json(), json!({}), "{path}");

        assert_eq!(&homeserver.asked().pop().unwrap().body[..], b"{\"a\": 1}");
        let before = times_asked(&homeserver);
        bob.get(paths::CONFIG).await;
        assert_eq!(times_asked(&homeserver), before, "{path}: Bob's session did not end");
        for client in [&alice, &other] {
            assert_eq!(client.get(paths::CONFIG).await.status(), 200);
        }
        assert_eq!(times_asked(&homeserver), before + 2, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_that_was_logged_out_is_refused_at_once() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::POST, LOGOUT, 200, &json!({}));
    let (_server, [alice, ..]) = remembered(&homeserver).await;

    alice.post(LOGOUT).await;
    homeserver.always_answers(401, &[], "{\"errcode\": \"M_UNKNOWN_TOKEN\", \"error\": \"No\"}");

    assert_eq!(alice.get(paths::CONFIG).await.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
}

#[tokio::test]
async fn what_the_homeserver_refuses_ends_nothing() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::POST, LOGOUT, 401, &json!({ "flows": [] }));
    let (_server, [alice, ..]) = remembered(&homeserver).await;
    let before = times_asked(&homeserver);

    assert_eq!(alice.post(LOGOUT).await.status(), 401);

    alice.get(paths::CONFIG).await;
    assert_eq!(times_asked(&homeserver), before);
}

#[tokio::test]
async fn a_password_that_is_reset_without_a_token_may_be_anybodys() {
    let path = "/_matrix/client/v3/account/password";
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::POST, path, 200, &json!({}));
    let (server, clients) = remembered(&homeserver).await;

    server.anonymous().post(path).body("{}").await;

    let before = times_asked(&homeserver);
    for client in &clients {
        client.get(paths::CONFIG).await;
    }
    assert_eq!(times_asked(&homeserver), before + clients.len());
}

#[tokio::test]
async fn an_answer_that_was_on_its_way_when_the_session_ended_is_not_believed() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let alice = server.anonymous().with_token("a_token");
    let other = server.anonymous().with_token("another");
    let config = tokio::spawn(other.get(paths::CONFIG).into_future());
    // The homeserver has recognised the token, and its answer is not here yet.
    let (mut late, _) = upstream.request().await;

    let logout = tokio::spawn(alice.post(LOGOUT).into_future());
    upstream.answers(&alices()).await;
    assert_eq!(upstream.answers(&answer(200, CLOSE, "{}")).await.line(), format!("POST {LOGOUT}"));
    assert_eq!(logout.await.unwrap().status(), 200);
    late.send(alices()).await;

    let refusal = "{\"errcode\": \"M_UNKNOWN_TOKEN\", \"error\": \"No\"}";
    assert_eq!(upstream.answers(&answer(401, CLOSE, refusal)).await.line(), format!("GET {WHOAMI}"));
    assert_eq!(config.await.unwrap().error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
}

#[tokio::test]
async fn a_logout_is_finished_though_the_client_has_gone() {
    let upstream = Upstream::start().await;
    let server = upstream.front("").await;
    let mut client = server.connect().await;
    client.send(format!("POST {LOGOUT} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}")).await;
    let (mut homeserver, _) = upstream.request().await;
    homeserver.bytes(2).await;

    drop(client);
    until("the client has gone", async || server.metric("tintype_http_connections").await == 0).await;

    // Still there.
    homeserver.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    until("it is over", async || server.metric("tintype_http_passing_through").await == 0).await;
    assert_eq!(server.metric("tintype_http_passed_through_total{outcome=\"answered\"}").await, 1);
}

#[tokio::test]
async fn a_logout_without_an_answer_may_have_happened() {
    let upstream = Upstream::start().await;
    let server = upstream.front("authentication.cache_time = '1h'").await;
    server.is_at_one_node("a token that was asked about is known to the node that asked");
    let alice = server.anonymous().with_token("a_token");
    let config = tokio::spawn(alice.get(paths::CONFIG).into_future());
    upstream.answers(&alices()).await;
    assert_eq!(config.await.unwrap().status(), 200);

    let logout = tokio::spawn(alice.post(LOGOUT).into_future());
    drop(upstream.request().await);
    assert_eq!(logout.await.unwrap().status(), 502);

    let config = tokio::spawn(alice.get(paths::CONFIG).into_future());
    assert_eq!(upstream.answers(&alices()).await.line(), format!("GET {WHOAMI}"));
    assert_eq!(config.await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_account_that_goes_with_all_it_sent_takes_its_media_along() {
    let path = "/_matrix/client/v3/account/deactivate";
    for (status, body, is_erased) in [
        (200, "{\"erase\": true}", true),
        (200, "{\"erase\": false}", false),
        (200, "", false),
        (401, "{\"erase\": true}", false),
    ] {
        let homeserver = FakeHomeserver::start().await;
        homeserver.answers(Method::POST, path, status, &json!({}));
        let (_server, [alice, _, bob]) = remembered(&homeserver).await;
        let mxc = alice.upload("hello").await;

        assert_eq!(alice.post(path).body(body).await.status(), status);

        assert_eq!(&homeserver.asked().pop().unwrap().body[..], body.as_bytes());
        if is_erased {
            until("it is gone", async || bob.get(paths::download(&mxc)).status().await == Some(404)).await;
        } else {
            assert_eq!(bob.get(paths::download(&mxc)).await.status(), 200, "{status} {body}");
        }
    }
}
