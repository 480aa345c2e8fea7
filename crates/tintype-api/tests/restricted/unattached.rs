//! Restricted media that is attached to nothing goes after a while, and what is attached never does.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, FakeHomeserver, TestServer, linked::Event, paths, pattern, until};

use super::{not_found, restricted};

const TEN_MINUTES: &str = "linked.unattached_after = '10m'\n";
const LARGE: usize = 300_000;

async fn is_there(client: &Client, mxc: &Mxc) -> bool {
    client.get(paths::download(mxc)).await.status() == 200
}

/// Waits until a sweep has removed this.
async fn is_swept(client: &Client, mxc: &Mxc) {
    until("it is swept", async || client.get(paths::download(mxc)).status().await == Some(404)).await;
}

#[tokio::test]
async fn it_goes_after_its_time_and_its_bytes_with_it() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let older = restricted(&alice, pattern(LARGE)).await;
    server.advance(Duration::from_mins(5));
    let younger = restricted(&alice, "younger").await;
    assert!(is_there(&alice, &older).await);

    server.advance(Duration::from_mins(5));
    is_swept(&alice, &older).await;

    assert_eq!(alice.get(paths::download(&older)).await.error(), not_found());
    assert!(is_there(&alice, &younger).await);
    assert_eq!(server.metric("tintype_restricted_unattached_total").await, 1);
    until("its file is gone", async || server.blobs().is_empty()).await;
}

#[tokio::test]
async fn by_default_it_has_a_day() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let older = restricted(&alice, "older").await;
    server.advance(Duration::from_mins(2));
    let younger = restricted(&alice, "younger").await;

    server.advance(Duration::from_mins(24 * 60 - 2));
    is_swept(&alice, &older).await;

    assert!(is_there(&alice, &younger).await);
}

#[tokio::test]
async fn media_for_everybody_stays() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let (plain, unattached) = (alice.upload("plain").await, restricted(&alice, "unattached").await);

    server.advance(Duration::from_hours(1));
    is_swept(&alice, &unattached).await;

    assert!(is_there(&alice, &plain).await);
}

#[tokio::test]
async fn what_is_attached_or_being_attached_stays() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let mut media = Vec::new();
    for name in ["event", "profile", "attaching", "unattached"] {
        media.push(restricted(&alice, name).await);
    }
    let event = Event { id: "$event", room: Some("!room:localhost"), sender: None, kind: None, state_key: None };
    server.attach_to_event(&media[0], event).await;
    server.attach_to_profile(&media[1], "@alice:localhost").await;
    server.begin_to_attach(&media[2]).await;

    server.advance(Duration::from_hours(48));
    is_swept(&alice, &media[3]).await;

    for mxc in &media[..3] {
        assert!(is_there(&alice, mxc).await, "{mxc}");
    }
}

#[tokio::test]
async fn an_upload_to_a_reserved_uri_has_its_time_however_late_it_comes() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let late = alice.post(paths::RESTRICTED_CREATE).await.mxc();
    server.advance(Duration::from_mins(24 * 60 - 1));
    let before = restricted(&alice, "before").await;
    server.advance(Duration::from_secs(30));

    assert_eq!(alice.put(&late).body("late").await.status(), 200);

    server.advance(Duration::from_secs(9 * 60 + 30));
    is_swept(&alice, &before).await;
    assert!(is_there(&alice, &late).await);
    server.advance(Duration::from_mins(1));
    is_swept(&alice, &late).await;
}

#[tokio::test]
async fn an_upload_that_takes_longer_than_its_time_is_there_when_it_ends() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let reserved = alice.post(paths::RESTRICTED_CREATE).await.mxc();
    let mut to_reserved = alice.put(&reserved).feed(LARGE).await;
    let mut posted = alice.post(paths::RESTRICTED_UPLOAD).feed(LARGE).await;
    for upload in [&mut to_reserved, &mut posted] {
        upload.send(pattern(LARGE)[..100_000].to_vec()).await;
    }
    let other = restricted(&alice, "other").await;

    server.advance(Duration::from_hours(30));
    is_swept(&alice, &other).await;
    for upload in [&mut to_reserved, &mut posted] {
        upload.send(pattern(LARGE)[100_000..].to_vec()).await;
    }

    assert_eq!(to_reserved.finish().await.status(), 200);
    let posted = posted.finish().await.mxc();
    for mxc in [reserved, posted] {
        assert_eq!(alice.get(paths::download(&mxc)).await.bytes()[..], pattern(LARGE)[..]);
    }
}

#[tokio::test]
async fn a_uri_that_was_never_uploaded_to_leaves_nothing_behind() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let mxc = alice.post(paths::RESTRICTED_CREATE).await.mxc();
    alice.put(&mxc).incomplete().body(pattern(1000)).await;
    assert_eq!(server.partial_uploads().len(), 1);

    server.advance(Duration::from_hours(24));
    until("it expires", async || server.metric("tintype_reservations_expired_total").await == 1).await;
    server.advance(Duration::from_mins(10));
    until("it is swept", async || server.metric("tintype_restricted_unattached_total").await == 1).await;

    assert_eq!(alice.put(&mxc).body("late").await.error(), not_found());
    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());
    server.holds_nothing().await;
}

#[tokio::test]
async fn who_reads_it_when_it_goes_is_cut() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    // More than the buffers of a connection take.
    let mxc = restricted(&alice, pattern(40 * 1024 * 1024)).await;
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    reading.bytes(1).await;

    server.advance(Duration::from_mins(10));
    until("it is swept", async || server.metric("tintype_restricted_unattached_total").await == 1).await;

    assert!(reading.aborted().await.len() < 32 * 1024 * 1024);
}

#[tokio::test]
async fn administrators_and_those_who_are_named_keep_what_they_attach_to_nothing() {
    let homeserver = FakeHomeserver::start().await;
    for name in ["root", "icons", "alice"] {
        homeserver.log_in(name, name);
    }
    let rules = format!("{TEN_MINUTES}linked.unswept_users = ['@icons:example.org']\n");
    let server = TestServer::with(&format!("{rules}{}admins = ['@root:example.org']\n", homeserver.config())).await;
    let [root, icons, alice] = ["root", "icons", "alice"].map(|name| server.anonymous().with_token(name));
    let mut stays = Vec::new();
    for client in [&root, &icons] {
        let reserved = client.post(paths::RESTRICTED_CREATE).await.mxc();
        client.put(&reserved).body("reserved").await;
        stays.push((client, reserved));
        stays.push((client, restricted(client, "uploaded").await));
        stays.push((client, client.post(paths::copy(&stays[stays.len() - 1].1)).await.mxc()));
    }
    let goes = restricted(&alice, "goes").await;

    server.advance(Duration::from_hours(10_000));
    is_swept(&alice, &goes).await;

    for (client, mxc) in stays {
        assert!(is_there(client, &mxc).await, "{mxc}");
    }
}

#[tokio::test]
async fn its_time_goes_on_while_the_server_is_stopped() {
    let server = TestServer::with(TEN_MINUTES).await;
    let alice = server.user("alice").await;
    let mxc = restricted(&alice, "hello").await;
    server.advance(Duration::from_mins(9));

    let server = server.restart().await;
    server.advance(Duration::from_mins(1));

    let alice = server.user("alice").await;
    is_swept(&alice, &mxc).await;
}
