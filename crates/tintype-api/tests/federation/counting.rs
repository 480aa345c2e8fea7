//! Who asks for media on which endpoints: in the metrics at once, and in the records a little later.

use std::time::Duration;

use tintype_storage::records::{MediaAge, MediaEndpoint, MediaRequestOutcome, MediaRequests};
use tintype_testing::{START, TestServer, paths, until};

use super::{ask, pair};

/// The metric of requests by one client.
fn used(endpoint: &str, client: &str, outcome: &str) -> String {
    format!("tintype_media_requests_total{{endpoint=\"{endpoint}\",client=\"{client}\",outcome=\"{outcome}\"}}")
}

fn today() -> i64 {
    START.as_millis() / (24 * 60 * 60 * 1000)
}

fn row(endpoint: MediaEndpoint, client: &str, outcome: MediaRequestOutcome, age: MediaAge) -> MediaRequests {
    MediaRequests { day: today(), endpoint, client: client.to_owned(), outcome, age, requests: 1 }
}

#[tokio::test]
async fn requests_are_counted_by_endpoint_client_and_outcome() {
    let (ours, _theirs, alice, bob) = pair("legacy.freeze = 'never'", "").await;
    let mxc = bob.upload("hello").await;
    let anonymous = ours.anonymous();

    anonymous.get(paths::legacy_download(&mxc)).header("user-agent", "curl/8.5.0").await;
    anonymous.get(paths::legacy_download(&mxc)).header("user-agent", "curl/8.5.0").header("range", "bytes=0-1").await;
    let etag = alice.get(paths::download(&mxc)).header("user-agent", "Cinny/4").await.header("etag").to_owned();
    alice.get(paths::download(&mxc)).header("user-agent", "Cinny/4").header("if-none-match", etag).await;
    alice.get(paths::thumbnail(&mxc, "width=9&height=9")).await;
    anonymous.get("/_matrix/media/v3/download/localhost/missing").header("user-agent", "\u{e9}").await;
    alice.post(paths::UPLOAD).body("not counted").await;

    assert_eq!(ours.metric(&used("old", "curl", "served")).await, 2);
    assert_eq!(ours.metric(&used("new", "cinny", "served")).await, 2);
    assert_eq!(ours.metric(&used("new", "none", "other")).await, 1);
    assert_eq!(ours.metric(&used("new", "none", "served")).await, 0);
}

#[tokio::test]
async fn what_a_freeze_refuses_is_counted_as_frozen() {
    let (ours, _theirs, alice, bob) = pair("legacy.freeze = 'now'", "").await;
    let (local, remote) = (alice.upload("here").await, bob.upload("there").await);
    alice.get(paths::download(&remote)).await;
    let anonymous = ours.anonymous();

    for mxc in [&local, &remote] {
        anonymous.get(paths::legacy_download(mxc)).header("user-agent", "curl/8.5.0").await;
    }
    let missing = format!("/_matrix/media/v3/download/{}/missing", ours.name());
    anonymous.get(missing).header("user-agent", "curl/8.5.0").await;

    assert_eq!(ours.metric(&used("old", "curl", "frozen")).await, 2);
    assert_eq!(ours.metric(&used("old", "curl", "other")).await, 1);
}

#[tokio::test]
async fn requests_of_other_servers_are_not_those_of_clients() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let id = bob.upload("hello").await.media_id;

    let answer = ask(&ours, &theirs, &format!("/_matrix/federation/v1/media/download/{id}")).await;

    assert_eq!(answer.status(), 200);
    let metrics = theirs.telemetry().get("/metrics").await;
    assert!(!std::str::from_utf8(metrics.bytes()).unwrap().contains("tintype_media_requests_total{"));
}

async fn server_with_requests() -> TestServer {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;
    server.anonymous().get(paths::legacy_download(&mxc)).header("user-agent", "curl/8.5.0").await;
    alice.get(paths::download(&mxc)).header("user-agent", "Nheko/0.12").await;
    let missing = mxc.to_string().replace(mxc.media_id.as_str(), "missing").parse().expect("it is an MXC URI");
    server.anonymous().get(paths::legacy_download(&missing)).await;
    server
}

fn expected() -> Vec<MediaRequests> {
    vec![
        row(MediaEndpoint::New, "nheko", MediaRequestOutcome::Served, MediaAge::Day),
        row(MediaEndpoint::Old, "curl", MediaRequestOutcome::Served, MediaAge::Day),
        row(MediaEndpoint::Old, "none", MediaRequestOutcome::Other, MediaAge::Unknown),
    ]
}

#[tokio::test]
async fn requests_are_recorded_after_a_minute() {
    let server = server_with_requests().await;
    assert_eq!(server.recorded_requests().await, []);

    server.advance(Duration::from_mins(1));

    until("they are recorded", async || !server.recorded_requests().await.is_empty()).await;
    assert_eq!(server.recorded_requests().await, expected());
}

#[tokio::test]
async fn requests_are_recorded_when_the_server_stops_and_once_only() {
    let server = server_with_requests().await;

    let server = server.restart().await;
    assert_eq!(server.recorded_requests().await, expected());
    server.advance(Duration::from_mins(1));
    let server = server.restart().await;

    assert_eq!(server.recorded_requests().await, expected());
}
