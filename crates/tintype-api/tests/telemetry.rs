//! What the operator sees: metrics and health. What is logged is tested with the program that logs.

use std::{fs, time::Duration};

use http::Method;
use tintype_testing::{TestServer, embedded_only, paths, pattern, pictures::png, until};

#[tokio::test]
async fn a_server_that_runs_is_alive_and_ready() {
    let server = TestServer::start().await;

    for path in ["/health", "/ready"] {
        assert_eq!(server.telemetry().get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_write_is_alive_but_not_ready() {
    embedded_only!("it takes a folder away");
    let server = TestServer::start().await;

    fs::remove_dir_all(server.data_dir().join("media/tmp")).unwrap();

    assert_eq!(server.telemetry().get("/ready").await.status(), 503);
    assert_eq!(server.telemetry().get("/health").await.status(), 200);
}

#[tokio::test]
async fn what_is_for_the_operator_is_not_for_clients() {
    let server = TestServer::start().await;

    for path in ["/metrics", "/health", "/ready"] {
        assert_eq!(server.anonymous().get(path).await.error(), (404, "M_UNRECOGNIZED".to_owned()), "{path}");
    }
    assert_eq!(server.telemetry().get(paths::CONFIG).await.status(), 404);
}

#[tokio::test]
async fn metrics_are_in_the_open_metrics_format() {
    let server = TestServer::start().await;

    let metrics = server.telemetry().get("/metrics").await;

    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = std::str::from_utf8(metrics.bytes()).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE tintype_uploads counter"), "{text}");
}

#[tokio::test]
async fn requests_are_counted_by_endpoint_and_status() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;
    alice.get(paths::download(&mxc)).await;
    alice.get(paths::thumbnail(&mxc, "width=32&height=32")).await;
    alice.get(paths::CONFIG).await;
    server.anonymous().get(paths::CONFIG).await;
    server.anonymous().get(paths::legacy_download(&mxc)).await;
    server.anonymous().get("/made/up/path").await;

    for (endpoint, status) in [
        ("upload", 200),
        ("download", 200),
        ("thumbnail", 200),
        ("config", 200),
        ("config", 401),
        ("legacy_download", 404),
        ("other", 404),
    ] {
        let name = format!("tintype_http_requests_total{{endpoint=\"{endpoint}\",status=\"{status}\"}}");
        // A request is counted when the last byte of its answer is on its way.
        until(&name, async || server.metric(&name).await == 1).await;
    }
}

#[tokio::test]
async fn bytes_are_counted() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(300_000)).await;
    alice.get(paths::download(&mxc)).await;
    alice.get(paths::download(&mxc)).header("range", "bytes=0-9").await;
    alice.head(paths::download(&mxc)).await;

    assert_eq!(server.metric("tintype_uploads_total").await, 1);
    assert_eq!(server.metric("tintype_uploaded_bytes_total").await, 300_000);
    let sent = "tintype_http_sent_bytes_total{endpoint=\"download\"}";
    until("all is sent", async || server.metric(sent).await == 300_010).await;
}

#[tokio::test]
async fn reservations_are_counted() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let pending = async || server.metric("tintype_reservations_pending").await;
    let expired = async || server.metric("tintype_reservations_expired_total").await;

    let [mxc, _, _] = [alice.create().await, alice.create().await, alice.create().await];
    assert_eq!(pending().await, 3);
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;
    assert_eq!(pending().await, 3);
    upload.send("o").await;
    upload.finish().await;
    assert_eq!((pending().await, expired().await), (2, 0));

    server.advance(Duration::from_hours(24));
    server.advance(Duration::from_mins(2));
    until("it is swept", async || expired().await == 2).await;
    assert_eq!(pending().await, 0);
}

#[tokio::test]
async fn reservations_are_known_after_a_restart() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    alice.create().await;
    alice.create().await;

    let server = server.restart().await;

    assert_eq!(server.metric("tintype_reservations_pending").await, 2);
}

#[tokio::test]
async fn downloads_that_wait_and_that_stream_are_counted() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.create().await;
    let streaming = async || server.metric("tintype_downloads_streaming").await;

    let download = server.waiting(alice.get(paths::download(&mxc)).open()).await;
    assert_eq!((server.waiting_downloads().await, streaming().await), (1, 0));
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;
    let download = download.await;
    until("it streams", async || streaming().await == 1).await;
    assert_eq!(server.waiting_downloads().await, 0);
    upload.send("o").await;
    upload.finish().await;
    assert_eq!(download.whole().await, "hello");
    until("it is over", async || streaming().await == 0).await;
}

#[tokio::test]
async fn asynchronous_uploads_have_endpoints_of_their_own() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.create().await;
    alice.post(paths::UNSTABLE_CREATE).await;
    alice.put(&mxc).incomplete().body("hel").await;
    alice.head(paths::put(&mxc)).await;
    alice.patch(&mxc, 3).complete().body("lo").await;
    alice.put(&mxc).body("again").await;
    alice.request(Method::PUT, paths::unstable_put(&mxc)).body("again").await;

    for (endpoint, status, count) in [
        ("create", 200, 2),
        ("asynchronous_upload", 201, 1),
        ("asynchronous_upload", 204, 1),
        ("asynchronous_upload", 200, 1),
        ("asynchronous_upload", 409, 2),
        ("upload", 200, 0),
        ("other", 404, 0),
    ] {
        let name = format!("tintype_http_requests_total{{endpoint=\"{endpoint}\",status=\"{status}\"}}");
        until(&name, async || server.metric(&name).await == count).await;
    }
    assert_eq!(server.metric("tintype_uploads_total").await, 1);
    assert_eq!(server.metric("tintype_uploaded_bytes_total").await, 5);
}

#[tokio::test]
async fn what_failed_to_become_a_thumbnail_is_counted() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("no picture").await;

    alice.get(paths::thumbnail(&mxc, "width=32&height=32")).await;

    assert_eq!(server.metric("tintype_thumbnails_failed_total").await, 1);
    assert_eq!(server.metric("tintype_thumbnails_made_total").await, 0);
    assert_eq!(server.metric("tintype_thumbnails_waiting").await, 0);
}
