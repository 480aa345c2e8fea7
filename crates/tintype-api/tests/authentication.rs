//! Whose token it is: asked of the homeserver, believed for a while, and never guessed.

use http::HeaderMap;
use serde_json::{Value, json};
use tintype_testing::{Client, FakeHomeserver, TestServer, paths, until};

async fn beside(homeserver: &FakeHomeserver) -> TestServer {
    TestServer::with(&homeserver.config()).await
}

async fn alice_beside(homeserver: &FakeHomeserver, config: &str) -> (TestServer, Client) {
    homeserver.log_in("alice", "syt_alice");
    let server = TestServer::with(&format!("{config}{}", homeserver.config())).await;
    let alice = server.anonymous().with_token("syt_alice");
    (server, alice)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn the_homeserver_says_whose_token_it_is() {
    let homeserver = FakeHomeserver::start().await;
    let (_server, alice) = alice_beside(&homeserver, "").await;

    let mxc = alice.upload("hello").await;

    assert_eq!(mxc.server_name, "example.org");
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    let asked = homeserver.asked();
    assert_eq!(asked[0].target, "/_matrix/client/v3/account/whoami");
    assert_eq!(text(&asked[0].headers, "authorization"), "Bearer syt_alice");
}

#[tokio::test]
async fn an_answer_is_believed_for_a_while() {
    let homeserver = FakeHomeserver::start().await;
    let (server, alice) = alice_beside(&homeserver, "").await;
    server.is_at_one_node("a token that was asked about is known to the node that asked");

    for _ in 0..5 {
        assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
    }

    assert_eq!(homeserver.asked().len(), 1);
}

#[tokio::test]
async fn with_a_cache_time_of_nothing_every_request_asks() {
    let homeserver = FakeHomeserver::start().await;
    let (_server, alice) = alice_beside(&homeserver, "authentication.cache_time = '0s'").await;

    for _ in 0..3 {
        assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
    }

    assert_eq!(homeserver.asked().len(), 3);
}

#[tokio::test]
async fn many_requests_at_once_ask_once() {
    let homeserver = FakeHomeserver::start().await;
    let (server, alice) = alice_beside(&homeserver, "").await;
    server.is_at_one_node("a token that was asked about is known to the node that asked");

    let held_back = homeserver.hold_back().await;
    let requests = (0..20).map(|_| tokio::spawn(alice.get(paths::CONFIG).into_future())).collect::<Vec<_>>();
    until("the homeserver is asked", async || !homeserver.asked().is_empty()).await;
    drop(held_back);

    for request in requests {
        assert_eq!(request.await.unwrap().status(), 200);
    }
    assert_eq!(homeserver.asked().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let alice = server.anonymous().with_token("syt_alice");

    assert_eq!(alice.get(paths::CONFIG).await.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    homeserver.log_in("alice", "syt_alice");

    assert_eq!(alice.get(paths::CONFIG).await.status(), 200);
}

#[tokio::test]
async fn a_refusal_is_passed_on_in_the_homeservers_own_words() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let alice = server.anonymous().with_token("syt_alice");

    for (status, body) in [
        (401, r#"{"errcode": "M_UNKNOWN_TOKEN","error":"Soft logged out", "soft_logout":true}"#),
        (401, r#"{"errcode":"M_USER_LOCKED","error":"Locked","soft_logout":true,"extra":[1,2]}"#),
        (403, r#"{"errcode":"M_USER_SUSPENDED","error":"Suspended"}"#),
        (403, r#"{"errcode":"M_CONSENT_NOT_GIVEN","error":"Read this","consent_uri":"https://example.org"}"#),
        (400, r#"{"errcode":"M_UNKNOWN_DEVICE","error":"No such device"}"#),
    ] {
        homeserver.always_answers(status, &[], body);
        let refusal = alice.get(paths::CONFIG).await;
        assert_eq!((refusal.status(), refusal.bytes()), (status, &body.into()));
        assert_eq!(refusal.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn a_homeserver_that_is_too_busy_says_when_to_come_back() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let body = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Slow down","retry_after_ms":7000}"#;
    homeserver.always_answers(429, &[("retry-after", "7")], body);

    let refusal = server.anonymous().with_token("syt_alice").get(paths::CONFIG).await;

    assert_eq!(refusal.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert_eq!(refusal.header("retry-after"), "7");
}

#[tokio::test]
async fn a_homeserver_that_fails_lets_nobody_in() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let alice = server.anonymous().with_token("syt_alice");

    for (status, headers, body) in [
        (500, &[][..], r#"{"errcode":"M_UNKNOWN","error":"Internal"}"#),
        (502, &[], "<html>Bad gateway</html>"),
        (404, &[], r#"{"errcode":"M_UNRECOGNIZED","error":"?"}"#),
        (401, &[], "<html>Unauthorized</html>"),
        (403, &[], ""),
        (200, &[], "<html>Welcome</html>"),
        (200, &[], "{}"),
        (200, &[], r#"{"user_id":"alice"}"#),
        (200, &[], r#"{"user_id":7}"#),
        (204, &[], ""),
        (302, &[("location", "/_matrix/client/v3/account/whoami2")], ""),
    ] {
        homeserver.always_answers(status, headers, body);
        let answer = alice.get(paths::CONFIG).await;
        assert_eq!(answer.error(), (503, "M_UNKNOWN".to_owned()), "{status} {body}");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let padding = "x".repeat(1024 * 1024);
    homeserver.always_answers(200, &[], &json!({ "user_id": "@alice:example.org", "padding": padding }).to_string());

    let answer = server.anonymous().with_token("syt_alice").get(paths::CONFIG).await;

    assert_eq!(answer.error(), (503, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_homeserver_that_is_slow_is_not_waited_for() {
    let homeserver = FakeHomeserver::start().await;
    let (_server, alice) = alice_beside(&homeserver, "authentication.request_timeout = '100ms'").await;

    let _held_back = homeserver.hold_back().await;

    assert_eq!(alice.get(paths::CONFIG).await.error(), (503, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_homeserver_that_is_down_lets_nobody_new_in() {
    let homeserver = FakeHomeserver::start().await;
    let (server, alice) = alice_beside(&homeserver, "").await;
    let mxc = alice.upload("hello").await;
    homeserver.stop().await;

    let bob = server.anonymous().with_token("syt_bob");
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), (503, "M_UNKNOWN".to_owned()));
    assert_eq!(bob.post(paths::UPLOAD).body("hello").await.error(), (503, "M_UNKNOWN".to_owned()));
    // Who is known already is let in as long as that is believed.
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn the_homeserver_learns_from_where_and_with_what_the_client_asks() {
    let homeserver = FakeHomeserver::start().await;
    let (_server, alice) = alice_beside(&homeserver, "").await;

    alice.get(paths::CONFIG).header("x-forwarded-for", "203.0.113.7").header("user-agent", "Element/1.0").await;

    let asked = homeserver.asked();
    assert_eq!(text(&asked[0].headers, "x-forwarded-for"), "203.0.113.7");
    assert_eq!(text(&asked[0].headers, "user-agent"), "Element/1.0");
}

#[tokio::test]
async fn a_stranger_does_not_choose_its_address() {
    let homeserver = FakeHomeserver::start().await;
    let (_server, alice) = alice_beside(&homeserver, "http.trusted_proxies = ['192.0.2.1']").await;

    alice.get(paths::CONFIG).header("x-forwarded-for", "203.0.113.7").await;

    assert_eq!(text(&homeserver.asked()[0].headers, "x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn guests_look_but_do_not_upload() {
    let homeserver = FakeHomeserver::start().await;
    let (server, alice) = alice_beside(&homeserver, "").await;
    let mxc = alice.upload("hello").await;

    for flag in ["is_guest", "org.matrix.msc3069.is_guest"] {
        homeserver.knows(flag, json!({ "user_id": "@visitor:example.org", flag: true }));
        let guest = server.anonymous().with_token(flag);
        assert_eq!(guest.get(paths::download(&mxc)).await.bytes(), "hello");
        let refusal = guest.post(paths::UPLOAD).body("hello").await;
        assert_eq!(refusal.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    }
}

#[tokio::test]
async fn an_application_service_acts_as_the_user_that_it_names() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("bridge", "as_token");
    let server = beside(&homeserver).await;
    server.is_at_one_node("a token that was asked about is known to the node that asked");
    let bridge = server.anonymous().with_token("as_token");

    for query in [
        "?user_id=%40bob%3Aexample.org",
        "?user_id=%40bob%3Aexample.org&device_id=D%261",
        "?user_id=%40carol%3Aexample.org&org.matrix.msc3202.device_id=D2",
        "",
    ] {
        assert_eq!(bridge.get(format!("{}{query}", paths::CONFIG)).await.status(), 200);
        assert_eq!(bridge.get(format!("{}{query}", paths::CONFIG)).await.status(), 200);
    }

    // Each of them is somebody else, and remembered as such.
    let targets: Vec<_> = homeserver.asked().into_iter().map(|asked| asked.target).collect();
    let whoami = "/_matrix/client/v3/account/whoami";
    assert_eq!(
        targets,
        [
            format!("{whoami}?user_id=%40bob%3Aexample.org"),
            format!("{whoami}?user_id=%40bob%3Aexample.org&device_id=D%261"),
            format!("{whoami}?user_id=%40carol%3Aexample.org&device_id=D2"),
            whoami.to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_user_of_another_server_is_not_let_in() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    homeserver.knows("syt_mallory", json!({ "user_id": "@mallory:elsewhere.example", "device_id": "D" }));

    let answer = server.anonymous().with_token("syt_mallory").get(paths::CONFIG).await;

    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn a_token_in_the_query_is_taken_unless_it_is_turned_off() {
    for (accepted, status) in [(true, 200), (false, 401)] {
        let homeserver = FakeHomeserver::start().await;
        let config = format!("authentication.query_access_token = {accepted}");
        let (server, _) = alice_beside(&homeserver, &config).await;
        let answer = server.anonymous().get(format!("{}?access_token=syt_alice", paths::CONFIG)).await;
        assert_eq!(answer.status(), status);
        assert_eq!(homeserver.asked().len(), usize::from(accepted));
    }
}

#[tokio::test]
async fn the_header_is_believed_before_the_query() {
    let homeserver = FakeHomeserver::start().await;
    let (_server, alice) = alice_beside(&homeserver, "").await;

    let answer = alice.get(format!("{}?access_token=made_up", paths::CONFIG)).await;

    assert_eq!(answer.status(), 200);
    assert!(!homeserver.asked()[0].target.contains("made_up"));
}

#[tokio::test]
async fn what_cannot_be_a_token_is_refused_without_asking() {
    let homeserver = FakeHomeserver::start().await;
    let (server, _) = alice_beside(&homeserver, "").await;

    for token in ["a%0Ab", "a%20b", "%00", "%E2%98%83"] {
        let answer = server.anonymous().get(format!("{}?access_token={token}", paths::CONFIG)).await;
        assert_eq!(answer.error(), (401, "M_UNKNOWN_TOKEN".to_owned()), "{token}");
    }
    for authorization in ["", "Bearer", "Bearer ", "Basic YTpi", "syt_alice", "Bearer a b"] {
        let answer = server.anonymous().get(paths::CONFIG).header("authorization", authorization).await;
        assert_eq!(answer.error(), (401, "M_MISSING_TOKEN".to_owned()), "{authorization:?}");
    }
    assert_eq!(homeserver.asked().len(), 0);
}

#[tokio::test]
async fn without_a_token_every_authenticated_path_answers_alike() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let mut answers = Vec::new();
    for path in [
        paths::download(&mxc),
        "/_matrix/client/v1/media/download/localhost/missing".to_owned(),
        "/_matrix/client/v1/media/download/localhost/..".to_owned(),
        "/_matrix/client/v1/media/download/elsewhere.example/missing/%ff".to_owned(),
        paths::thumbnail(&mxc, "width=1"),
        paths::CONFIG.to_owned(),
    ] {
        let answer = server.anonymous().get(path).await;
        assert_eq!(answer.error(), (401, "M_MISSING_TOKEN".to_owned()));
        answers.push(answer.json());
    }

    assert!(answers.iter().all(|answer: &Value| *answer == answers[0]));
}
