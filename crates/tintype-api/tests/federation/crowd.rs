//! Many who ask at once: the origin is asked once, and all of them read while it still sends.

use std::future::IntoFuture as _;

use tintype_testing::{Receiving, Waiting, paths, pattern, until};

use super::pair;

const CROWD: usize = 64;
const LENGTH: usize = 1_000_000;

#[tokio::test]
async fn many_who_ask_while_the_origin_sends_cause_one_request_and_all_of_them_stream() {
    for has_length in [true, false] {
        let (ours, theirs, alice, bob) = pair("", "").await;
        theirs.is_at_one_node("a request that is handed on is counted by both nodes");
        let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
        let put = bob.put(&mxc);
        let mut upload = if has_length { put.feed(LENGTH).await } else { put.feed_chunked().await };
        upload.send(&bytes[..100_000]).await;

        let opening = (0..CROWD).map(|_| Waiting::new(alice.get(paths::download(&mxc)).open())).collect::<Vec<_>>();
        let mut reading = Vec::new();
        for opened in opening {
            let mut download = opened.await;
            assert_eq!(download.status(), 200);
            assert_eq!(download.header("content-length").is_empty(), !has_length);
            assert!(download.bytes(100_000).await == bytes[..100_000]);
            reading.push(download);
        }
        assert_eq!(ours.metric("tintype_downloads_streaming").await, CROWD as u64);
        upload.send(&bytes[100_000..]).await;
        assert_eq!(upload.finish().await.status(), 200);

        for download in reading {
            assert!(download.whole().await == bytes[100_000..]);
        }
        assert_eq!(ours.metric("tintype_fetches_total").await, 1);
        until("the origin has sent it", async || theirs.requests("federation_download").await == 1).await;
        assert_eq!(ours.blobs().len(), 1);
    }
}

#[tokio::test]
async fn many_who_wait_for_what_was_promised_cause_one_request() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    theirs.is_at_one_node("a request that is handed on is counted by both nodes");
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let waiting = (0..CROWD).map(|_| Waiting::new(alice.get(paths::download(&mxc)).into_future())).collect::<Vec<_>>();
    until("all of them wait", async || ours.waiting_downloads().await == CROWD as u64).await;
    until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

    bob.put(&mxc).body(bytes.clone()).await;

    for answer in waiting {
        assert!(*answer.await.bytes() == bytes);
    }
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);
    assert_eq!(theirs.requests("federation_download").await, 1);
}

#[tokio::test]
async fn who_comes_late_reads_from_the_beginning() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..500_000]).await;
    let mut early = alice.get(paths::download(&mxc)).open().await;
    early.bytes(500_000).await;

    let late: Receiving = alice.get(paths::download(&mxc)).open().await;
    upload.send(&bytes[500_000..]).await;
    upload.finish().await;

    assert!(late.whole().await == bytes);
    assert!(early.whole().await == bytes[500_000..]);
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);
}

#[tokio::test]
async fn when_the_origin_breaks_off_all_who_read_are_cut() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let mut reading = Vec::new();
    for _ in 0..8 {
        reading.push(alice.get(paths::download(&mxc)).open().await);
    }

    upload.break_off();

    for download in reading {
        assert!(bytes.starts_with(&download.aborted().await));
    }
    ours.holds_nothing().await;
    assert_eq!(ours.metric("tintype_fetches_failed_total").await, 1);
}

#[tokio::test]
async fn who_does_not_read_holds_up_nobody() {
    let length = 40 * 1024 * 1024;
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.upload(pattern(length)).await, pattern(length));
    let idle = alice.get(paths::download(&mxc)).open().await;

    let reading = alice.get(paths::download(&mxc)).open().await;

    assert!(reading.whole().await == bytes);
    until("it is kept", async || ours.metric("tintype_fetched_bytes_total").await == length as u64).await;
    assert!(idle.whole().await == bytes);
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);
}

#[tokio::test]
async fn the_same_bytes_that_are_here_already_are_read_by_all_and_kept_once() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    reading.bytes(1000).await;

    let local = alice.upload(bytes.clone()).await;
    upload.send(&bytes[1000..]).await;
    upload.finish().await;

    assert!(reading.whole().await == bytes[1000..]);
    assert_eq!(ours.blobs().len(), 1);
    let (here, there) = tokio::join!(alice.get(paths::download(&local)), alice.get(paths::download(&mxc)));
    assert!(*here.bytes() == bytes && *there.bytes() == bytes);
    assert_eq!(here.header("etag"), there.header("etag"));
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_stump_that_looks_whole() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let mut modern = alice.get(paths::download(&mxc)).open().await;
    modern.bytes(1000).await;
    let mut old = ours.connect().await;
    let (path, token) = (paths::download(&mxc), alice.token());
    old.send(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    until("it waits", async || ours.waiting_downloads().await == 1).await;

    upload.send(&bytes[1000..]).await;
    upload.finish().await;

    let answer = old.rest().await;
    let head = String::from_utf8_lossy(&answer[..1000]).to_lowercase();
    assert!(head.contains(&format!("content-length: {LENGTH}\r\n")), "{head}");
    assert!(answer.ends_with(&bytes));
    assert!(modern.whole().await == bytes[1000..]);
}
