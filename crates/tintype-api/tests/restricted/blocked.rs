//! `[linked] block_unrestricted`: a server that takes no media for everybody, and from whom it takes it all the same.

use serde_json::json;
use tintype_testing::{Client, FakeHomeserver, TestServer, paths};

const BLOCKED: &str = "linked.block_unrestricted = true\nlimits.max_pending_uploads = 1000000\n";

fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

/// A server beside a homeserver with an application service, whose token is `bridge`.
async fn beside(homeserver: &FakeHomeserver) -> TestServer {
    homeserver.log_in("alice", "alice");
    homeserver.knows("bridge", json!({ "user_id": "@bridge:example.org" }));
    TestServer::with(&format!("{BLOCKED}{}", homeserver.config())).await
}

async fn uploads(client: &Client, query: &str) -> [u16; 2] {
    let with = |path: &str| if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let upload = client.post(with(paths::UPLOAD)).body("hello").await;
    let create = client.post(with(paths::CREATE)).await;
    [upload.status(), create.status()]
}

#[tokio::test]
async fn media_for_everybody_is_refused() {
    let server = TestServer::with(BLOCKED).await;
    let alice = server.user("alice").await;

    for path in [
        paths::UPLOAD,
        "/_matrix/media/r0/upload",
        "/_matrix/media/v1/upload",
        "/_matrix/media/v3/upload?ephemeral=false",
        paths::CREATE,
        paths::UNSTABLE_CREATE,
    ] {
        assert_eq!(alice.post(path).body("{}").await.error(), forbidden(), "{path}");
    }

    server.holds_nothing().await;
    assert_eq!(server.metric("tintype_uploads_total").await, 0);
    assert_eq!(server.metric("tintype_reservations_pending").await, 0);
}

#[tokio::test]
async fn by_default_it_is_taken() {
    let server = TestServer::start().await;

    assert_eq!(uploads(&server.user("alice").await, "").await, [200, 200]);
}

#[tokio::test]
async fn ephemeral_media_is_taken() {
    let server = TestServer::with(BLOCKED).await;

    let alice = server.user("alice").await;

    assert_eq!(uploads(&alice, "ephemeral=true").await, [200, 200]);
    assert_eq!(uploads(&alice, "org.matrix.msc4425.ephemeral=true").await, [200, 200]);
}

#[tokio::test]
async fn administrators_upload_what_they_like() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("root", "root");
    let admins = "admins = ['@root:example.org', '@bridged:example.org']\n";
    let server = TestServer::with(&format!("{BLOCKED}{}{admins}", homeserver.config())).await;

    assert_eq!(uploads(&server.anonymous().with_token("root"), "").await, [200, 200]);
}

#[tokio::test]
async fn application_services_upload_what_they_like() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let bridge = server.anonymous().with_token("bridge");

    assert_eq!(uploads(&bridge, "").await, [200, 200]);
    assert_eq!(uploads(&bridge, "user_id=%40alice%3Aexample.org").await, [200, 200]);
}

#[tokio::test]
async fn application_services_that_act_as_a_device_are_still_known() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    // Whoever acts as a device is told that the token is the device's.
    homeserver.answers_to(
        http::Method::GET,
        "/_matrix/client/v3/account/whoami",
        Some("@ghost:example.org"),
        200,
        &json!({ "user_id": "@ghost:example.org", "device_id": "GHOST" }),
    );
    let bridge = server.anonymous().with_token("bridge");

    assert_eq!(uploads(&bridge, "user_id=%40ghost%3Aexample.org&device_id=GHOST").await, [200, 200]);
}

#[tokio::test]
async fn nobody_becomes_an_application_service_by_what_they_put_into_a_query() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let alice = server.anonymous().with_token("alice");

    for query in [
        "user_id=%40alice%3Aexample.org",
        "user_id=%40bridge%3Aexample.org",
        "device_id=DEVICE",
        "device_id=",
        "user_id=%40alice%3Aexample.org&device_id=DEVICE",
        "org.matrix.msc3202.device_id=DEVICE",
    ] {
        assert_eq!(uploads(&alice, query).await, [403, 403], "{query}");
    }
}

#[tokio::test]
async fn who_cannot_be_told_from_an_application_service_is_asked_to_come_again() {
    let homeserver = FakeHomeserver::start().await;
    let server = beside(&homeserver).await;
    let alice = server.anonymous().with_token("alice");
    assert_eq!(uploads(&alice, "device_id=DEVICE").await, [403, 403]);
    let server = server.restart().await;
    let path = "/_matrix/client/v3/account/whoami";
    let alice_acts = json!({ "user_id": "@alice:example.org", "device_id": "DEVICE" });
    homeserver.answers(http::Method::GET, path, 500, &json!({}));
    homeserver.answers_to(http::Method::GET, path, Some("@alice:example.org"), 200, &alice_acts);

    let alice = server.anonymous().with_token("alice");

    assert_eq!(uploads(&alice, "user_id=%40alice%3Aexample.org&device_id=DEVICE").await, [503, 503]);
}

#[tokio::test]
async fn guests_are_refused_as_guests() {
    let server = TestServer::with(BLOCKED).await;

    let refused = server.guest("guest").await.post(paths::UPLOAD).body("hello").await;

    assert_eq!(refused.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn what_was_reserved_before_can_still_be_uploaded() {
    let homeserver = FakeHomeserver::start().await;
    homeserver.log_in("alice", "alice");
    let server = TestServer::with(&homeserver.config()).await;
    let mxc = server.anonymous().with_token("alice").create().await;

    let server = server.reconfigured(&format!("{BLOCKED}{}", homeserver.config())).await;
    let alice = server.anonymous().with_token("alice");

    assert_eq!(alice.post(paths::CREATE).await.error(), forbidden());
    assert_eq!(alice.put(&mxc).body("hello").await.status(), 200);
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn clients_learn_of_it() {
    for (config, blocked) in [("", false), (BLOCKED, true)] {
        let server = TestServer::with(config).await;
        let features = server.anonymous().get("/_matrix/client/versions").await.json()["unstable_features"].clone();
        assert_eq!(features["org.matrix.msc3911.block_unrestricted_media_upload"], blocked);
    }
}
