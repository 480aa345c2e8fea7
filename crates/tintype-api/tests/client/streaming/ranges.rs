//! Ranges of what is arriving.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, Response, Sending, TestServer, Waiting, paths, pattern};

use super::{open_range, reserved};

/// An upload of ten bytes under way, of which four are there.
async fn known() -> (TestServer, Client, Mxc, Sending) {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("0123").await;
    (server, bob, mxc, upload)
}

/// The same, whose length nobody knows.
async fn unknown() -> (TestServer, Client, Mxc, Sending) {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("0123").await;
    // The four bytes are there when somebody can read them.
    open_range(&bob, &mxc, "bytes=3-").await;
    (server, bob, mxc, upload)
}

/// A download of a range that has not begun to arrive.
async fn ahead(server: &TestServer, user: &Client, mxc: &Mxc, range: &str) -> Waiting<Response> {
    server.waiting(user.get(paths::download(mxc)).header("range", range)).await
}

#[tokio::test]
async fn a_range_of_a_known_length_is_answered_at_once_and_its_bytes_come_as_they_arrive() {
    let (_server, bob, mxc, mut upload) = known().await;

    let mut middle = open_range(&bob, &mxc, "bytes=2-5").await;
    let mut ahead = open_range(&bob, &mxc, "bytes=6-").await;
    let suffix = open_range(&bob, &mxc, "bytes=-3").await;

    assert_eq!((middle.status(), middle.header("content-range")), (206, "bytes 2-5/10"));
    assert_eq!((ahead.status(), ahead.header("content-range")), (206, "bytes 6-9/10"));
    assert_eq!((suffix.status(), suffix.header("content-range")), (206, "bytes 7-9/10"));
    assert_eq!((middle.header("content-length"), ahead.header("content-length")), ("4", "4"));
    assert_eq!(middle.bytes(2).await, "23");
    upload.send("456").await;
    assert_eq!(middle.whole().await, "45");
    assert_eq!(ahead.bytes(1).await, "6");
    upload.send("789").await;
    assert_eq!(ahead.whole().await, "789");
    assert_eq!(suffix.whole().await, "789");
}

#[tokio::test]
async fn a_range_that_is_there_does_not_wait_for_the_rest() {
    let (_server, bob, mxc, _upload) = known().await;

    for (range, bytes) in [("bytes=0-3", "0123"), ("bytes=1-1", "1"), ("bytes=0-1,2-3", "0123")] {
        assert_eq!(open_range(&bob, &mxc, range).await.whole().await, bytes, "{range}");
    }
}

#[tokio::test]
async fn several_ranges_of_a_known_length_come_as_they_arrive() {
    let (_server, bob, mxc, mut upload) = known().await;

    let download = open_range(&bob, &mxc, "bytes=0-1,5-5,8-9").await;
    upload.send("456789").await;

    assert_eq!(download.status(), 206);
    assert!(download.header("content-type").starts_with("multipart/byteranges; boundary="));
    let body = download.whole().await;
    let text = std::str::from_utf8(&body).expect("all of it is text");
    for part in ["bytes 0-1/10\r\n\r\n01\r\n", "bytes 5-5/10\r\n\r\n5\r\n", "bytes 8-9/10\r\n\r\n89\r\n"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn a_range_beyond_a_known_length_cannot_be_satisfied() {
    let (_server, bob, mxc, _upload) = known().await;

    let refusal = bob.get(paths::download(&mxc)).header("range", "bytes=10-").await;

    assert_eq!((refusal.status(), refusal.header("content-range")), (416, "bytes */10"));
}

#[tokio::test]
async fn a_range_for_head_is_ignored() {
    let (_server, bob, mxc, _upload) = known().await;

    let head = bob.head(paths::download(&mxc)).header("range", "bytes=0-1").await;

    assert_eq!((head.status(), head.content_length()), (200, 10));
}

#[tokio::test]
async fn of_an_unknown_length_a_range_is_what_has_arrived_of_it() {
    let (_server, bob, mxc, mut upload) = unknown().await;

    for (range, content_range, bytes) in [
        ("bytes=0-100", "bytes 0-3/*", "0123"),
        ("bytes=1-", "bytes 1-3/*", "123"),
        ("bytes=1-2", "bytes 1-2/*", "12"),
        ("bytes=2-100", "bytes 2-3/*", "23"),
        ("bytes=3-3", "bytes 3-3/*", "3"),
    ] {
        let answer = bob.get(paths::download(&mxc)).header("range", range).await;
        assert_eq!((answer.status(), answer.header("content-range")), (206, content_range));
        assert_eq!(answer.bytes(), bytes);
    }
    // So a player goes on: where the last range ended.
    upload.send("45").await;
    let next = open_range(&bob, &mxc, "bytes=4-").await;
    assert!(next.header("content-range").starts_with("bytes 4-"));
    assert!(b"45".starts_with(&next.whole().await));
}

#[tokio::test]
async fn of_an_unknown_length_a_range_waits_for_its_first_byte() {
    let (server, bob, mxc, mut upload) = unknown().await;
    let waiting = ahead(&server, &bob, &mxc, "bytes=6-6").await;

    upload.send("45").await;
    upload.send("6").await;

    let answer = waiting.await;
    assert_eq!((answer.status(), answer.header("content-range")), (206, "bytes 6-6/*"));
    assert_eq!(answer.bytes(), "6");
}

#[tokio::test]
async fn a_range_whose_first_byte_does_not_come_in_time_is_answered_late() {
    let (server, bob, mxc, _upload) = unknown().await;
    let waiting = ahead(&server, &bob, &mxc, "bytes=4-").await;
    let impatient = bob.get(paths::download(&mxc) + "?timeout_ms=0").header("range", "bytes=4-").await;

    server.advance(Duration::from_secs(20));

    assert_eq!(impatient.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    assert_eq!(waiting.await.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
}

#[tokio::test]
async fn who_waits_for_a_range_counts_as_waiting() {
    let (server, alice, bob, mxc) = reserved("limits.max_waiting_downloads = 1").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("0123").await;
    let other = alice.create().await;
    let longest = ahead(&server, &bob, &mxc, "bytes=4-").await;

    let next = Waiting::new(alice.get(paths::download(&other)).into_future());

    assert_eq!(longest.await.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    alice.put(&other).body("other").await;
    assert_eq!(next.await.bytes(), "other");
}

#[tokio::test]
async fn a_range_beyond_what_turns_out_to_be_the_end_cannot_be_satisfied() {
    let (server, bob, mxc, upload) = unknown().await;
    let waiting = ahead(&server, &bob, &mxc, "bytes=4-").await;

    assert_eq!(upload.finish().await.status(), 200);

    let answer = waiting.await;
    assert_eq!((answer.status(), answer.header("content-range")), (416, "bytes */4"));
}

#[tokio::test]
async fn of_an_unknown_length_ranges_that_need_it_are_ignored() {
    let (_server, bob, mxc, upload) = unknown().await;

    let suffix = open_range(&bob, &mxc, "bytes=-2").await;
    let several = open_range(&bob, &mxc, "bytes=0-0,2-2").await;
    upload.finish().await;

    for download in [suffix, several] {
        assert_eq!((download.status(), download.header("content-range")), (200, ""));
        assert_eq!(download.whole().await, "0123");
    }
}

#[tokio::test]
async fn of_an_unknown_length_all_bytes_from_the_first_are_the_whole() {
    let (_server, bob, mxc, mut upload) = unknown().await;

    // What players ask for first: they get what arrives, and not only what has arrived.
    let mut download = open_range(&bob, &mxc, "bytes=0-").await;

    assert_eq!((download.status(), download.header("content-range")), (200, ""));
    assert_eq!(download.bytes(4).await, "0123");
    upload.send("45").await;
    assert_eq!(download.bytes(2).await, "45");
    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(download.whole().await, "");
}

#[tokio::test]
async fn a_large_range_comes_as_it_arrives() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let bytes = pattern(3_000_000);
    let mut upload = alice.put(&mxc).feed(bytes.len()).await;
    upload.send(&bytes[..1]).await;
    let download = open_range(&bob, &mxc, "bytes=1000000-2000000").await;
    let tail = open_range(&bob, &mxc, "bytes=-500000").await;

    for piece in bytes[1..].chunks(99_999) {
        upload.send(piece).await;
    }
    assert_eq!(upload.finish().await.status(), 200);

    assert!(download.whole().await == bytes[1_000_000..=2_000_000]);
    assert!(tail.whole().await == bytes[2_500_000..]);
}

#[tokio::test]
async fn a_range_is_aborted_with_its_upload() {
    let (_server, bob, mxc, upload) = known().await;
    let there = open_range(&bob, &mxc, "bytes=1-2").await;
    let partly = open_range(&bob, &mxc, "bytes=1-5").await;

    upload.break_off();

    assert_eq!(there.whole().await, "12");
    assert!(b"123".starts_with(&partly.aborted().await));
}
