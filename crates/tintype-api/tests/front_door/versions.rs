//! `GET /_matrix/client/versions`, where there is a homeserver

use http::Method;
use serde_json::json;
use tintype_testing::{FakeHomeserver, TestServer};

const VERSIONS: &str = "/_matrix/client/versions";

#[tokio::test]
async fn the_homeservers_versions_are_given_with_our_flags() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(
        Method::GET,
        VERSIONS,
        200,
        &json!({ "versions": ["v1.9"], "unstable_features": { "org.example": false }, "server": { "x": 1 } }),
    );
    let server = TestServer::with(&homeserver.config()).await;

    let answer = server.anonymous().get(VERSIONS).await;

    let expected = json!({
        "versions": ["v1.9"],
        "unstable_features": { "org.example": false, "org.matrix.msc4425": true, "org.matrix.msc3911": true },
        "server": { "x": 1 },
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.content_length(), answer.bytes().len());
}

#[tokio::test]
async fn clients_learn_that_plain_uploads_are_refused() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::GET, VERSIONS, 200, &json!({ "versions": [] }));
    let server = TestServer::with(&format!("linked.block_unrestricted = true\n{}", homeserver.config())).await;

    let answer = server.anonymous().get(VERSIONS).await;

    let features = &answer.json()["unstable_features"];
    assert_eq!(features["org.matrix.msc3911.block_unrestricted_media_upload"], true);
}

#[tokio::test]
async fn each_user_is_given_the_versions_that_the_homeserver_has_for_them() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::GET, VERSIONS, 200, &json!({ "versions": ["v1.1"] }));
    homeserver.answers_to(Method::GET, VERSIONS, Some("alice's"), 200, &json!({ "versions": ["v1.2"] }));
    let server = TestServer::with(&homeserver.config()).await;

    let alices = server.anonymous().with_token("alice's").get(VERSIONS).await;
    let others = server.anonymous().get(VERSIONS).await;

    assert_eq!(alices.json()["versions"], json!(["v1.2"]));
    assert_eq!(others.json()["versions"], json!(["v1.1"]));
    assert_eq!(alices.header("vary"), "Authorization");
    assert_eq!(others.header("vary"), "Authorization");
}

#[tokio::test]
async fn an_answer_that_is_no_list_of_versions_goes_through_as_it_is() {
    for (status, body) in [
        (200, "{\"versions\": [ ], \"unstable_features\": 1}"),
        (200, "hello"),
        (429, "{\"errcode\": \"M_LIMIT_EXCEEDED\" }"),
    ] {
        let homeserver = FakeHomeserver::start().await;
        homeserver.always_answers(status, &[("retry-after", "7")], body);
        let server = TestServer::with(&homeserver.config()).await;

        let answer = server.anonymous().get(VERSIONS).await;

        assert_eq!(answer.status(), status);
        assert_eq!(answer.bytes(), body);
        assert_eq!(answer.header("retry-after"), "7");
    }
}

#[tokio::test]
async fn an_answer_too_long_to_be_looked_into_goes_through_whole() {
    let homeserver = FakeHomeserver::start().await;
    let long = json!({ "versions": ["x".repeat(1024 * 1024)] });
    homeserver.answers(Method::GET, VERSIONS, 200, &long);
    let server = TestServer::with(&homeserver.config()).await;

    let answer = server.anonymous().get(VERSIONS).await;

    assert_eq!(answer.json(), long);
}

#[tokio::test]
async fn the_answer_is_asked_for_in_a_form_that_can_be_read() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.answers(Method::GET, VERSIONS, 200, &json!({ "versions": [] }));
    let server = TestServer::with(&homeserver.config()).await;

    let request = server.anonymous().get(VERSIONS).header("accept-encoding", "gzip").header("if-none-match", "\"1\"");
    request.await;

    let asked = homeserver.asked();
    assert!(!asked[0].headers.contains_key("accept-encoding"), "{asked:?}");
    assert!(!asked[0].headers.contains_key("if-none-match"), "{asked:?}");
}

#[tokio::test]
async fn without_the_homeserver_there_are_no_versions() {
    let homeserver = FakeHomeserver::start().await;
    let server = TestServer::with(&homeserver.config()).await;
    homeserver.stop().await;

    let answer = server.anonymous().get(VERSIONS).await;

    assert_eq!(answer.error(), (502, "M_UNKNOWN".to_owned()));
}
