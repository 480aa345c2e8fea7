//! What is never passed on

use http::Method;
use serde_json::json;
use tintype_testing::{FakeHomeserver, TestServer, paths};

use super::in_front_of;

const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD];

async fn never_reaches(homeserver: &FakeHomeserver, server: &TestServer, paths: &[&str]) {
    for path in paths {
        for method in METHODS {
            let answer = server.anonymous().with_token("a_token").request(method.clone(), *path).await;
            assert!((400..=405).contains(&answer.status()), "{method} {path}: {answer:?}");
        }
    }
    let asked = homeserver.asked();
    assert!(asked.iter().all(|asked| asked.target == "/_matrix/client/v3/account/whoami"), "{asked:?}");
}

#[tokio::test]
async fn administration_and_application_services_are_not_reached_whatever_is_configured() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "a_token");
    let all = "pass_through_prefixes = ['/', '/_synapse/', '/_matrix/']\n";
    let server = TestServer::with(&format!("{}pass_through = true\n{all}", homeserver.config())).await;

    never_reaches(
        &homeserver,
        &server,
        &[
            "/_synapse/admin/v1/users/@a:b",
            "/_synapse/admin",
            "/_synapse//admin/v1/register",
            "//_synapse/admin/v1/register",
            "/_synapse/client/../admin/v1/register",
            "/_synapse/client/%2e%2e/admin/v1/register",
            "/_synapse/client/..%2fadmin/v1/register",
            "/_synapse/client/..;/admin/v1/register",
            "/_synapse/%61dmin/v1/register",
            "/_synapse/%2561dmin/v1/register",
            "/_synapse/ADMIN/v1/register",
            "/_synapse%2fadmin/v1/register",
            "/%5Fsynapse/admin/v1/register",
            "/_matrix/../_synapse/admin/v1/register",
            "/_matrix/client/v3/rooms/..%2f..%2f..%2f..%2f_synapse%2fadmin/v1/register",
            "/_matrix/app/v1/nothing",
            "/_matrix/app",
            "/_matrix//app/v1/nothing",
            "/_matrix/client/../app/v1/nothing",
            "/_matrix/a%70p/v1/nothing",
            "/_matrix/App/v1/nothing",
        ],
    )
    .await;
}

#[tokio::test]
async fn nothing_outside_of_the_prefixes_is_reached() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "a_token");
    let server = in_front_of(&homeserver, "").await;

    never_reaches(
        &homeserver,
        &server,
        &[
            "/",
            "/health",
            "/metrics",
            "/_synapse/metrics",
            "/_matrix/../health",
            "/_matrix/client/%2e%2e/%2e%2e/health",
        ],
    )
    .await;
    let answer = server.anonymous().get("/health").await;
    assert_eq!(answer.error(), (404, "M_UNRECOGNIZED".to_owned()));
}

#[tokio::test]
async fn the_homeservers_own_media_is_not_reached() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "a_token");
    let server = in_front_of(&homeserver, "").await;

    never_reaches(
        &homeserver,
        &server,
        &[
            "/_matrix/media/v3/nothing",
            "/_matrix/media/v3/download/example.org/a",
            "/_matrix/media/v3/downloa%64/example.org/a",
            "/_matrix/media//v3/download/example.org/a",
            "/_matrix/client/../media/v3/download/example.org/a",
            "/_matrix/media/v3/preview_url/../download/example.org/a",
            "/_matrix/media/v2/upload",
            "/_matrix/client/v1/media/download/example.org/a",
            "/_matrix/client/v1/media/nothing",
            "/_matrix/client/v1/Media/download/example.org/a",
            "/_matrix/client/unstable/org.matrix.msc3916/media/download/example.org/a",
            "/_matrix/client/unstable/org.matrix.msc3911/nothing",
            "/_matrix/client/unstable/org.matrix.msc4425/example.org",
            "/_matrix/federation/v1/media/download/a",
            "/_matrix/federation/v1/media/nothing",
            "/_matrix/federation/unstable/org.matrix.msc3916.v2/media/nothing",
        ],
    )
    .await;
}

#[tokio::test]
async fn media_is_served_here_as_without_passing_on() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "a_token");
    let server = in_front_of(&homeserver, "").await;
    let alice = server.anonymous().with_token("a_token");

    let mxc = alice.upload("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(alice.request(Method::DELETE, paths::UPLOAD).await.error(), (405, "M_UNRECOGNIZED".to_owned()));
}

#[tokio::test]
async fn previews_of_urls_are_the_homeservers() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    for path in ["/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url"] {
        homeserver.answers(Method::GET, path, 200, &json!({ "og:title": "A page" }));

        let answer = server.anonymous().get(format!("{path}?url=https%3A%2F%2Fexample.org")).await;

        assert_eq!(answer.json()["og:title"], "A page");
    }
}

#[tokio::test]
async fn only_what_ends_sessions_is_passed_on_where_a_proxy_does_the_rest() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "a_token");
    let server = TestServer::with(&homeserver.config()).await;
    let alice = server.anonymous().with_token("a_token");
    homeserver.answers(Method::POST, "/_matrix/client/v3/logout", 200, &json!({}));

    assert_eq!(alice.post("/_matrix/client/v3/logout").await.json(), json!({}));
    for path in ["/_matrix/client/v3/sync", "/_matrix/client/v3/login", "/_matrix/client/v3/account/3pid"] {
        assert_eq!(alice.post(path).await.error(), (404, "M_UNRECOGNIZED".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn nobody_goes_on_in_another_protocol() {
    let homeserver = FakeHomeserver::start().await;
    let server = in_front_of(&homeserver, "").await;
    let login = || server.anonymous().get("/_matrix/client/v3/login").header("connection", "upgrade");

    let websocket = login().header("upgrade", "websocket").await;
    assert_eq!(websocket.error(), (501, "M_UNRECOGNIZED".to_owned()));
    assert_eq!(homeserver.asked().len(), 0);

    login().header("upgrade", "h2c").await;
    assert!(!homeserver.asked()[0].headers.contains_key("upgrade"));
}
