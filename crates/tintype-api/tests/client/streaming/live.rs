//! The bytes, as they come, for readers at every speed.

use std::time::Duration;

use tintype_testing::{
    TestServer, Waiting, paths, pattern,
    pictures::{look, png},
    until,
};

use super::{open, reserved};

const MIB: usize = 1024 * 1024;

/// Up to here media lies beside its record; beyond, in a file.
const INLINE: usize = 64 * 1024;

/// More than the buffers of a connection take, so that a client that does not read stops what is sent to it.
const MORE_THAN_BUFFERS: usize = 40 * MIB;

async fn until_nothing_streams(server: &TestServer) {
    until("no download is streamed", async || server.metric("tintype_downloads_streaming").await == 0).await;
}

#[tokio::test]
async fn the_first_byte_is_there_before_the_second_is_sent() {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(3).await;

    upload.send("a").await;
    let mut download = open(&bob, &mxc).await;
    assert_eq!(download.bytes(1).await, "a");
    upload.send("b").await;
    assert_eq!(download.bytes(1).await, "b");
    upload.send("c").await;

    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(download.whole().await, "c");
    until_nothing_streams(&server).await;
}

#[tokio::test]
async fn without_a_length_every_byte_is_there_when_it_is_sent() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("a").await;
    let mut download = open(&bob, &mxc).await;
    assert_eq!(download.bytes(1).await, "a");

    for byte in ["b", "c"] {
        upload.send(byte).await;
        assert_eq!(download.bytes(1).await, byte);
    }

    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(download.whole().await, "");
}

#[tokio::test]
async fn single_bytes_come_through_behind_megabytes() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("x").await;
    let mut download = open(&bob, &mxc).await;
    download.bytes(1).await;

    for size in [INLINE - 1, 1, 1, MIB, 1, 3 * MIB + 7, 1] {
        upload.send(pattern(size)).await;
        assert!(download.bytes(size).await == pattern(size), "{size}");
    }

    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(download.whole().await, "");
}

#[tokio::test]
async fn a_download_that_waits_starts_when_the_upload_starts() {
    let (server, alice, bob, mxc) = reserved("").await;
    let waiting = server.waiting(bob.get(paths::download(&mxc)).open()).await;

    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("h").await;

    let mut download = waiting.await;
    assert_eq!(download.bytes(1).await, "h");
    assert_eq!(server.waiting_downloads().await, 0);
    upload.send("ello worl").await;
    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(download.whole().await, "ello worl");
}

#[tokio::test]
async fn a_download_starts_with_the_first_byte_and_waits_for_it() {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    let download = server.waiting(bob.get(paths::download(&mxc)).open()).await;
    let late = server.waiting(bob.get(paths::download(&mxc) + "?timeout_ms=5000")).await;

    server.advance(Duration::from_secs(5));
    assert_eq!(late.await.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    upload.send("h").await;

    let mut download = download.await;
    assert_eq!((download.status(), &download.bytes(1).await[..]), (200, &b"h"[..]));
}

#[tokio::test]
async fn a_reader_who_could_not_tell_the_end_from_a_break_waits_for_the_whole() {
    let (server, alice, _, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("hell").await;
    // In HTTP/1.0 a body without a length ends with its connection, however that ends.
    let mut connection = server.connect().await;
    let (path, token) = (paths::download(&mxc), alice.token());
    connection.send(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    until("it waits", async || server.waiting_downloads().await == 1).await;

    upload.send("o").await;
    upload.finish().await;

    assert_eq!(connection.response().await.bytes(), "hello");
}

#[tokio::test]
async fn every_byte_comes_through_whatever_the_size() {
    let (server, alice, bob, _) = reserved("").await;

    for length in [0, 1, 2, INLINE - 1, INLINE, INLINE + 1, 4 * INLINE - 1, 4 * INLINE, 4 * INLINE + 1, 5 * MIB] {
        for chunked in [false, true] {
            let mxc = alice.create().await;
            let first = server.waiting(bob.get(paths::download(&mxc)).open()).await;
            let request = alice.put(&mxc);
            let mut upload = if chunked { request.feed_chunked().await } else { request.feed(length).await };
            let bytes = pattern(length);
            let (start, rest) = bytes.split_at(length / 3);
            upload.send(start).await;
            let second = Waiting::new(bob.get(paths::download(&mxc)).into_future());
            for piece in rest.chunks(77_777) {
                upload.send(piece).await;
            }
            assert_eq!(upload.finish().await.status(), 200);
            assert!(first.await.whole().await == bytes, "{length}, chunked: {chunked}");
            assert!(*second.await.bytes() == bytes, "{length}, chunked: {chunked}");
            assert!(*bob.get(paths::download(&mxc)).await.bytes() == bytes, "{length}, chunked: {chunked}");
        }
    }
    until_nothing_streams(&server).await;
}

#[tokio::test]
async fn readers_join_wherever_the_upload_is_and_all_read_the_same() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let bytes = pattern(3 * MIB);
    let mut upload = alice.put(&mxc).feed(bytes.len()).await;
    let mut downloads = Vec::new();

    let (most, last) = bytes.split_at(bytes.len() - 1);
    for piece in most.chunks(MIB / 4) {
        upload.send(piece).await;
        downloads.push(open(&bob, &mxc).await);
    }
    upload.send(last).await;
    assert_eq!(upload.finish().await.status(), 200);
    downloads.push(open(&bob, &mxc).await);

    for download in downloads {
        assert!(download.whole().await == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_up_neither_the_sender_nor_the_others() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let bytes = pattern(MORE_THAN_BUFFERS);
    let mut upload = alice.put(&mxc).feed(bytes.len()).await;
    upload.send(&bytes[..1]).await;
    let mut stopped = open(&bob, &mxc).await;
    let mut slow = open(&bob, &mxc).await;
    let fast = Waiting::new(open(&bob, &mxc).await.whole());

    stopped.bytes(1).await;
    for piece in bytes[1..].chunks(MIB) {
        upload.send(piece).await;
        slow.bytes(1000).await;
    }

    assert_eq!(upload.finish().await.status(), 200);
    assert!(fast.await == bytes);
    // They can still read all of it, long after.
    assert!(stopped.whole().await == bytes[1..]);
    assert!(slow.whole().await.ends_with(&bytes[MORE_THAN_BUFFERS - MIB..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_is_cut_and_the_sender_goes_on() {
    let (server, alice, bob, mxc) = reserved("http.write_stall_timeout = '100ms'").await;
    let bytes = pattern(MORE_THAN_BUFFERS);
    let mut upload = alice.put(&mxc).feed(bytes.len()).await;
    upload.send(&bytes[..1]).await;
    let stopped = open(&bob, &mxc).await;

    let (most, last) = bytes.split_at(bytes.len() - 1);
    upload.send(&most[1..]).await;
    until_nothing_streams(&server).await;
    upload.send(last).await;

    assert_eq!(upload.finish().await.status(), 200);
    assert!(stopped.aborted().await.len() < bytes.len());
}

#[tokio::test]
async fn a_reader_that_waits_for_the_sender_is_not_taken_for_one_that_does_not_read() {
    let (server, alice, bob, mxc) = reserved("http.write_stall_timeout = '50ms'").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;
    let mut download = open(&bob, &mxc).await;
    download.bytes(4).await;

    // Longer than a reader may read nothing: another one is cut for it meanwhile.
    let stored = alice.upload(pattern(MORE_THAN_BUFFERS)).await;
    let stalled = open(&bob, &stored).await;
    let connections = async || server.metric("tintype_http_connections").await;
    let before = connections().await;
    until("the other is cut", async || connections().await < before).await;

    upload.send("o hell").await;
    assert_eq!(download.whole().await, "o hell");
    drop(stalled);
}

#[tokio::test]
async fn readers_that_go_away_disturb_nobody() {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;
    let gone = [open(&bob, &mxc).await, open(&bob, &mxc).await];
    let stays = open(&bob, &mxc).await;

    drop(gone);
    upload.send("o hell").await;

    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(stays.whole().await, "hello hell");
    until_nothing_streams(&server).await;
}

#[tokio::test]
async fn without_streaming_a_download_waits_for_the_whole() {
    let (server, alice, bob, mxc) = reserved("async.stream = false").await;
    let early = server.waiting(bob.get(paths::download(&mxc))).await;
    let mut upload = alice.put(&mxc).feed(2 * MIB).await;
    upload.send(pattern(MIB)).await;
    let late = server.waiting(bob.get(paths::download(&mxc))).await;
    let head = server.waiting(bob.head(paths::download(&mxc))).await;

    assert_eq!(server.waiting_downloads().await, 3);
    upload.send(&pattern(2 * MIB)[MIB..]).await;
    assert_eq!(upload.finish().await.status(), 200);

    for answer in [early.await, late.await] {
        assert!(*answer.bytes() == pattern(2 * MIB));
        assert!(!answer.header("etag").contains("arriving"));
    }
    assert_eq!(head.await.content_length(), 2 * MIB);
}

#[tokio::test]
async fn a_thumbnail_waits_for_the_whole() {
    let (server, alice, bob, mxc) = reserved("").await;
    let picture = png(640, 480);
    let mut upload = alice.put(&mxc).header("content-type", "image/png").feed(picture.len()).await;
    upload.send(&picture[..picture.len() - 1]).await;
    let size = "width=32&height=32&method=crop";
    let waiting = server.waiting(bob.get(paths::thumbnail(&mxc, size))).await;

    upload.send(&picture[picture.len() - 1..]).await;
    assert_eq!(upload.finish().await.status(), 200);

    assert_eq!(look(waiting.await.bytes()), ("png", 32, 32));
}

#[tokio::test]
async fn those_who_do_not_want_to_wait_see_what_arrives_too() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;
    open(&bob, &mxc).await.bytes(4).await;

    let mut download = bob.get(paths::download(&mxc) + "?timeout_ms=0").open().await;
    let thumbnail = bob.get(paths::thumbnail(&mxc, "width=32&height=32&timeout_ms=0")).await;

    assert_eq!(download.bytes(4).await, "hell");
    assert_eq!(thumbnail.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_finishes_what_it_streams() {
    let (server, alice, bob, mxc) = reserved("http.drain_timeout = '1h'").await;
    let mut upload = alice.put(&mxc).feed(2 * MIB).await;
    upload.send(pattern(MIB)).await;
    let mut download = open(&bob, &mxc).await;
    download.bytes(1000).await;

    let draining = tokio::spawn(server.drain());
    upload.send(&pattern(2 * MIB)[MIB..]).await;

    assert_eq!(upload.finish().await.status(), 200);
    assert!(download.whole().await == pattern(2 * MIB)[1000..]);
    draining.await.unwrap();
}
