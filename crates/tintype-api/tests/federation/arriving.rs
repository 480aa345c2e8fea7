//! Media that is promised to its origin, or still arriving there, while it is asked for here.

use std::time::Duration;

use tintype_testing::{paths, pattern, until};

use super::pair;

const LENGTH: usize = 300_000;

#[tokio::test]
async fn media_that_is_promised_is_waited_for_as_long_as_the_client_says() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let waiting = ours.waiting(alice.get(paths::download(&mxc) + "?timeout_ms=5000")).await;
    until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

    theirs.advance(Duration::from_millis(4_999));
    assert_eq!(theirs.waiting_downloads().await, 1);
    theirs.advance(Duration::from_millis(1));

    assert_eq!(waiting.await.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    bob.put(&mxc).body("hello").await;
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn media_that_is_promised_is_not_waited_for_where_the_client_does_not_want_it() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;

    let refused = alice.get(paths::download(&mxc) + "?timeout_ms=0").await;

    assert_eq!(refused.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
}

#[tokio::test]
async fn a_client_that_waits_outlasts_one_that_does_not() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let short = ours.waiting(alice.get(paths::download(&mxc) + "?timeout_ms=1000")).await;
    let long = ours.waiting(alice.get(paths::download(&mxc) + "?timeout_ms=20000")).await;
    until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

    theirs.advance(Duration::from_secs(1));
    assert_eq!(short.await.status(), 504);
    until("the origin is asked again", async || theirs.waiting_downloads().await == 1).await;
    bob.put(&mxc).body("hello").await;

    assert_eq!(long.await.bytes(), "hello");
}

#[tokio::test]
async fn media_that_was_promised_comes_as_soon_as_it_is_uploaded() {
    for length in [5, LENGTH] {
        let (ours, theirs, alice, bob) = pair("", "").await;
        let mxc = bob.create().await;
        let waiting = ours.waiting(alice.get(paths::download(&mxc))).await;
        until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

        bob.put(&mxc).header("content-type", "text/x-late").body(pattern(length)).await;

        let answer = waiting.await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, "text/x-late"));
        assert!(*answer.bytes() == pattern(length));
    }
}

#[tokio::test]
async fn the_first_bytes_are_here_while_the_rest_is_not_sent_yet() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).header("content-type", "video/mp4").feed(LENGTH).await;
    upload.send(&bytes[..100]).await;

    let mut reading = alice.get(paths::download(&mxc)).open().await;
    assert_eq!((reading.status(), reading.header("content-type")), (200, "video/mp4"));
    assert_eq!(reading.header("content-length"), LENGTH.to_string());
    assert_eq!(reading.header("cache-control"), "no-store");
    assert!(reading.bytes(100).await == bytes[..100]);
    upload.send(&bytes[100..200_000]).await;
    assert!(reading.bytes(199_900).await == bytes[100..200_000]);
    assert_eq!(ours.blobs().len(), 0, "it is not kept before it is whole");

    upload.send(&bytes[200_000..]).await;
    assert_eq!(upload.finish().await.status(), 200);
    assert!(reading.whole().await == bytes[200_000..]);
    drop(theirs.drain().await);
    assert!(*alice.get(paths::download(&mxc)).await.bytes() == bytes);
}

#[tokio::test]
async fn where_the_origin_states_no_length_there_is_none() {
    let (_ours, theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..100]).await;

    let mut reading = alice.get(paths::download(&mxc)).open().await;
    assert_eq!((reading.header("content-length"), reading.header("transfer-encoding")), ("", "chunked"));
    assert!(reading.bytes(100).await == bytes[..100]);

    upload.send(&bytes[100..]).await;
    assert_eq!(upload.finish().await.status(), 200);
    assert!(reading.whole().await == bytes[100..]);
    drop(theirs.drain().await);
    let kept = alice.get(paths::download(&mxc)).await;
    assert_eq!(kept.content_length(), LENGTH);
    assert!(*kept.bytes() == bytes);
}

#[tokio::test]
async fn what_arrives_in_little_pieces_and_stays_small_is_kept_whole() {
    let (_ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send("h").await;
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    assert_eq!(reading.bytes(1).await, "h");

    upload.send("ell").await;
    assert_eq!(reading.bytes(3).await, "ell");
    upload.send("o").await;
    upload.finish().await;

    assert_eq!(reading.whole().await, "o");
    drop(theirs.drain().await);
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_part_of_what_arrives_is_given_as_soon_as_it_is_here() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let path = paths::download(&mxc);
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;

    let there = alice.get(path.as_str()).header("range", "bytes=10-19").await;
    let mut to_come = alice.get(path.as_str()).header("range", "bytes=990-1009").open().await;
    assert_eq!((there.status(), there.bytes()), (206, &bytes[10..20].to_vec().into()));
    assert_eq!(there.header("content-range"), "bytes 10-19/300000");
    assert_eq!((to_come.status(), to_come.header("content-range")), (206, "bytes 990-1009/300000"));
    assert!(to_come.bytes(10).await == bytes[990..1000]);

    upload.send(&bytes[1000..2000]).await;
    assert!(to_come.whole().await == bytes[1000..1010]);
    upload.send(&bytes[2000..]).await;
    upload.finish().await;
}

#[tokio::test]
async fn a_part_of_what_arrives_without_a_length_has_none_of_the_whole() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(1000));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes).await;

    let part = alice.get(paths::download(&mxc)).header("range", "bytes=10-19").await;

    assert_eq!((part.status(), part.header("content-range")), (206, "bytes 10-19/*"));
    assert!(*part.bytes() == bytes[10..20]);
    upload.finish().await;
}

#[tokio::test]
async fn the_head_of_what_arrives_does_not_wait_for_its_end() {
    let (_ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send("x").await;

    let head = alice.head(paths::download(&mxc)).await;
    let unknown = alice.get(paths::download(&mxc)).header("if-none-match", "\"unknown\"").open().await;

    assert_eq!((head.status(), head.content_length()), (200, LENGTH));
    assert_eq!(unknown.status(), 200);
    upload.break_off();
}

#[tokio::test]
async fn where_downloads_do_not_stream_all_of_it_comes_at_once() {
    let (ours, theirs, alice, bob) = pair("async.stream = false", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send(&bytes[..1000]).await;
    let waiting = ours.waiting(alice.get(paths::download(&mxc))).await;
    until("the origin sends", async || theirs.metric("tintype_downloads_streaming").await == 1).await;

    upload.send(&bytes[1000..]).await;
    upload.finish().await;

    let answer = waiting.await;
    assert_eq!(answer.content_length(), LENGTH);
    assert!(*answer.bytes() == bytes);
}

#[tokio::test]
async fn a_sender_that_breaks_off_at_the_origin_aborts_who_reads_here() {
    for (announced, sent) in [(Some(2 * LENGTH), LENGTH), (None, LENGTH), (None, 4)] {
        let (ours, theirs, alice, bob) = pair("", "").await;
        let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
        let mut upload = match announced {
            Some(length) => bob.put(&mxc).feed(length).await,
            None => bob.put(&mxc).feed_chunked().await,
        };
        upload.send(&bytes[..sent]).await;
        let mut reading = alice.get(paths::download(&mxc)).open().await;
        assert!(reading.bytes(sent - 1).await == bytes[..sent - 1]);

        upload.break_off();

        assert!(bytes[sent - 1..].starts_with(&reading.aborted().await));
        ours.holds_nothing().await;
        theirs.holds_nothing().await;
        until("there is another attempt", async || bob.put(&mxc).body(bytes.clone()).await.status() == 200).await;
        ours.advance(Duration::from_secs(30));
        assert!(*alice.get(paths::download(&mxc)).await.bytes() == bytes);
    }
}

#[tokio::test]
async fn an_upload_that_stalls_at_the_origin_is_given_up_here() {
    let (ours, _theirs, alice, bob) = pair("federation.idle_timeout = '100ms'", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;

    let reading = alice.get(paths::download(&mxc)).open().await;

    assert!(bytes.starts_with(&reading.aborted().await));
    ours.holds_nothing().await;
    upload.send(&bytes[1000..]).await;
    assert_eq!(upload.finish().await.status(), 200);
}
