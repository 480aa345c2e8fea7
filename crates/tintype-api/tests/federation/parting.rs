//! Somebody goes away in the middle: who asked, the server that fetches, or the origin.

use std::time::Duration;

use tintype_testing::{paths, pattern, until};
use tokio::time::timeout;

use super::pair;

const LENGTH: usize = 1_000_000;

/// Much less than the server would wait for those that it serves.
const PROMPTLY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_fetch_goes_on_without_who_asked_for_it() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    reading.bytes(1000).await;

    drop(reading);
    until("nobody reads it", async || ours.metric("tintype_downloads_streaming").await == 0).await;
    upload.send(&bytes[1000..]).await;
    upload.finish().await;

    until("it is kept", async || ours.metric("tintype_fetched_bytes_total").await == LENGTH as u64).await;
    drop(theirs.drain().await);
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == bytes);
}

#[tokio::test]
async fn a_fetch_goes_on_without_who_waited_for_it() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let waiting = ours.waiting(alice.get(paths::download(&mxc))).await;
    until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

    drop(waiting);
    until("nobody waits", async || ours.waiting_downloads().await == 0).await;
    bob.put(&mxc).body("hello").await;

    until("it is kept", async || ours.metric("tintype_fetched_bytes_total").await == 5).await;
    drop(theirs.drain().await);
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_server_that_stops_cuts_a_fetch_that_nobody_reads_at_once() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    reading.bytes(1000).await;
    drop(reading);
    until("nobody reads it", async || ours.metric("tintype_downloads_streaming").await == 0).await;

    let ours = timeout(PROMPTLY, ours.restart()).await.expect("the server ends promptly");

    ours.holds_nothing().await;
    upload.send(&bytes[1000..]).await;
    assert_eq!(upload.finish().await.status(), 200);
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == bytes);
}

#[tokio::test]
async fn a_server_that_stops_waits_for_who_reads_only_so_long() {
    let (ours, _theirs, alice, bob) = pair("http.drain_timeout = '50ms'", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;
    let reading = alice.get(paths::download(&mxc)).open().await;

    let ours = timeout(PROMPTLY, ours.restart()).await.expect("the server ends promptly");

    assert!(bytes.starts_with(&reading.aborted().await));
    ours.holds_nothing().await;
    upload.send(&bytes[1000..]).await;
    assert_eq!(upload.finish().await.status(), 200);
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == bytes);
}

#[tokio::test]
async fn a_server_that_stops_lets_who_reads_come_to_the_end_in_time() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    reading.bytes(1000).await;

    let (_folder, ()) = tokio::join!(ours.drain(), async {
        upload.send(&bytes[1000..]).await;
        assert_eq!(upload.finish().await.status(), 200);
        assert!(reading.whole().await == bytes[1000..]);
    });
}

#[tokio::test]
async fn a_server_that_stops_answers_who_waits_for_other_servers() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let (path, small) = (paths::download(&mxc), paths::thumbnail(&mxc, "width=32&height=32"));
    let download = ours.waiting(alice.get(path.as_str())).await;
    let thumbnail = ours.waiting(alice.get(small)).await;
    until("the origin waits", async || theirs.waiting_downloads().await == 2).await;

    timeout(PROMPTLY, ours.drain()).await.expect("the server ends promptly");

    assert_eq!(download.await.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    assert_eq!(thumbnail.await.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
}

#[tokio::test]
async fn an_origin_that_stops_in_the_middle_aborts_who_reads_here() {
    let (ours, theirs, alice, bob) = pair("", "http.drain_timeout = '50ms'").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let reading = alice.get(paths::download(&mxc)).open().await;

    let theirs = theirs.restart().await;

    assert!(bytes.starts_with(&reading.aborted().await));
    ours.holds_nothing().await;
    assert_eq!(bob.put(&mxc).body(bytes.clone()).await.status(), 200);
    ours.advance(Duration::from_secs(30));
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == bytes);
    drop(theirs);
}
