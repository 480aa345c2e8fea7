//! Uploads that do not come to their end while they are read: nobody takes a stump for the whole.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, Receiving, TestServer, paths, pattern, until};

use super::{open, reserved};

const MIB: usize = 1024 * 1024;

/// Checks that a download broke off after the beginning of these bytes.
async fn is_aborted(download: Receiving, bytes: &[u8]) {
    let stump = download.aborted().await;
    assert!(bytes.starts_with(&stump), "{} bytes are not what was sent", stump.len());
}

/// Checks that nothing was kept, and that the next attempt starts clean.
async fn starts_clean(server: &TestServer, alice: &Client, mxc: &Mxc) {
    server.holds_nothing().await;
    let bytes: Vec<_> = pattern(300_000).into_iter().rev().collect();
    until("there is another attempt", async || alice.put(mxc).body(bytes.clone()).await.status() == 200).await;
    assert!(*alice.get(paths::download(mxc)).await.bytes() == bytes);
}

#[tokio::test]
async fn a_sender_that_breaks_off_aborts_those_who_read() {
    for length in [4, 100_000, 3 * MIB] {
        let (server, alice, bob, mxc) = reserved("").await;
        let bytes = pattern(length);
        let mut upload = alice.put(&mxc).feed(2 * length).await;
        upload.send(&bytes[..1]).await;
        let early = open(&bob, &mxc).await;
        upload.send(&bytes[1..]).await;
        let mut reading = open(&bob, &mxc).await;
        reading.bytes(length / 2).await;

        upload.break_off();

        is_aborted(early, &bytes).await;
        is_aborted(reading, &bytes[length / 2..]).await;
        starts_clean(&server, &alice, &mxc).await;
    }
}

#[tokio::test]
async fn without_a_length_a_sender_that_breaks_off_aborts_those_who_read() {
    for length in [4, 100_000, 3 * MIB] {
        let (server, alice, bob, mxc) = reserved("").await;
        let bytes = pattern(length);
        let mut upload = alice.put(&mxc).feed_chunked().await;
        upload.send(&bytes).await;
        let mut reading = open(&bob, &mxc).await;
        assert!(reading.bytes(length).await == bytes);
        let late = open(&bob, &mxc).await;

        upload.break_off();

        is_aborted(reading, &[]).await;
        is_aborted(late, &bytes).await;
        starts_clean(&server, &alice, &mxc).await;
    }
}

#[tokio::test]
async fn between_two_attempts_downloads_wait_and_then_see_the_second_only() {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut first = alice.put(&mxc).feed(10).await;
    first.send("first").await;
    let reading = open(&bob, &mxc).await;
    first.break_off();
    is_aborted(reading, b"first").await;

    let waiting = server.waiting(bob.get(paths::download(&mxc))).await;
    alice.put(&mxc).body("second one").await;

    assert_eq!(waiting.await.bytes(), "second one");
}

#[tokio::test]
async fn what_turns_out_too_large_aborts_those_who_read() {
    let (server, alice, bob, mxc) = reserved("limits.max_upload_size = '1MiB'").await;
    let bytes = pattern(MIB + 1);
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let reading = open(&bob, &mxc).await;

    upload.send(&bytes[1000..]).await;

    assert_eq!(upload.response().await.error(), (413, "M_TOO_LARGE".to_owned()));
    is_aborted(reading, &bytes).await;
    starts_clean(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn what_turns_out_beyond_the_quota_aborts_those_who_read() {
    let (server, alice, bob, mxc) = reserved("limits.max_user_bytes = '400KiB'").await;
    let bytes = pattern(500 * 1024);
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let reading = open(&bob, &mxc).await;

    upload.send(&bytes[1000..]).await;

    assert_eq!(upload.finish().await.error(), (403, "M_FORBIDDEN".to_owned()));
    is_aborted(reading, &bytes).await;
    starts_clean(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn nobody_takes_for_whole_what_is_refused_at_its_very_end() {
    for length in [1000, 200_000] {
        // Each is within the quota when it begins; together they are not.
        let (server, alice, bob, mxc) = reserved("limits.max_user_media = 1").await;
        let bytes = pattern(length);
        let mut upload = alice.put(&mxc).feed(length).await;
        upload.send(&bytes[..length - 1]).await;
        let mut reading = open(&bob, &mxc).await;
        assert!(reading.bytes(length - 1).await == bytes[..length - 1]);
        alice.upload("the only one").await;

        upload.send(&bytes[length - 1..]).await;

        assert_eq!(upload.finish().await.error(), (403, "M_FORBIDDEN".to_owned()));
        is_aborted(reading, &[]).await;
        server.holds_nothing().await;
    }
}

#[tokio::test]
async fn a_single_byte_is_held_back_until_it_is_recorded() {
    let (server, alice, bob, mxc) = reserved("limits.max_user_media = 1").await;
    let mut upload = alice.put(&mxc).feed(1).await;
    let waiting = server.waiting(bob.get(paths::download(&mxc))).await;
    alice.upload("the only one").await;

    upload.send("x").await;

    assert_eq!(upload.finish().await.status(), 403);
    server.advance(Duration::from_secs(20));
    assert_eq!(waiting.await.status(), 504);
}

#[tokio::test]
async fn without_a_length_what_is_refused_at_its_very_end_is_aborted() {
    let (_server, alice, bob, mxc) = reserved("limits.max_user_media = 1").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("hello").await;
    let mut reading = open(&bob, &mxc).await;
    assert_eq!(reading.bytes(5).await, "hello");
    alice.upload("the only one").await;

    assert_eq!(upload.finish().await.status(), 403);

    is_aborted(reading, &[]).await;
}

#[tokio::test]
async fn an_upload_that_stops_arriving_aborts_those_who_read() {
    let (server, alice, bob, mxc) = reserved("http.body_idle_timeout = '100ms'").await;
    let bytes = pattern(MIB);
    let mut upload = alice.put(&mxc).feed(2 * MIB).await;
    upload.send(&bytes).await;
    let reading = open(&bob, &mxc).await;

    assert_eq!(upload.response().await.error(), (408, "M_UNKNOWN".to_owned()));

    is_aborted(reading, &bytes).await;
    starts_clean(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn a_broken_body_aborts_those_who_read() {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut connection = server.connect().await;
    let (path, token) = (paths::put(&mxc), alice.token());
    connection.send(format!("PUT {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nHost: localhost\r\n")).await;
    connection.send("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    // It waits if the upload is not there yet.
    let mut reading = open(&bob, &mxc).await;
    assert_eq!(reading.bytes(5).await, "hello");

    connection.send("this is no chunk\r\n").await;

    is_aborted(reading, &[]).await;
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_the_sender_any_more_aborts_those_who_read() {
    let (server, alice, bob, mxc) = reserved("http.drain_timeout = '50ms'").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;
    let reading = open(&bob, &mxc).await;

    server.drain().await;

    is_aborted(reading, b"hell").await;
}
