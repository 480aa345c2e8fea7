//! Lengths that are announced, and what does not keep to them.

use tintype_testing::{Request, Response, Sending, paths, pattern};

use super::{arriving, interrupted, is_free, is_stored, offset_of, reserved};

const LIMIT: &str = "limits.max_upload_size = '100KiB'";

fn invalid() -> (u16, String) {
    (400, "M_INVALID_PARAM".to_owned())
}

/// The refusal of a request that announced so many bytes and sent none of them.
async fn refusal_before_the_body(request: Request, length: usize) -> Response {
    request.feed(length).await.response().await
}

fn too_large(refusal: &Response) {
    assert_eq!(refusal.error(), (413, "M_TOO_LARGE".to_owned()));
    assert!(refusal.header("upload-limit").contains("max-size=102400"), "{}", refusal.header("upload-limit"));
}

async fn send_chunked(request: Request, bytes: &[u8]) -> Sending {
    let mut upload = request.feed_chunked().await;
    upload.send(bytes).await;
    upload
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_refused_before_the_body() {
    let (_server, alice, _, mxc) = reserved("").await;
    let put = || alice.put(&mxc).header("upload-length", "10");

    assert_eq!(refusal_before_the_body(put().complete(), 11).await.error(), invalid());
    assert_eq!(refusal_before_the_body(put().complete(), 9).await.error(), invalid());
    assert_eq!(refusal_before_the_body(put().incomplete(), 11).await.error(), invalid());

    assert_eq!(offset_of(&alice, &mxc).await, 0);
}

#[tokio::test]
async fn a_part_may_not_contradict_what_was_announced_before() {
    let (_server, alice, _, mxc) = reserved("").await;
    let begin = || alice.put(&mxc).incomplete().header("upload-length", "10").body("hello");
    let patch = || alice.patch(&mxc, 5);

    for (request, length) in [
        (patch().complete(), 4),
        (patch().complete(), 6),
        (patch().incomplete(), 6),
        (patch().incomplete().header("upload-length", "11"), 1),
        (patch().complete().header("upload-length", "11"), 6),
    ] {
        assert_eq!(begin().await.status(), 201);
        assert_eq!(refusal_before_the_body(request, length).await.error(), invalid());
    }
}

#[tokio::test]
async fn a_length_that_becomes_known_later_counts_from_then_on() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().body("hello").await;
    alice.patch(&mxc, 5).incomplete().header("upload-length", "10").body("h").await;

    let more = refusal_before_the_body(alice.patch(&mxc, 6).complete(), 5).await;
    assert_eq!(more.error(), invalid());

    if offset_of(&alice, &mxc).await == 6 {
        let last = alice.patch(&mxc, 6).complete().header("upload-length", "10").body("ello").await;
        is_stored(&last, &bob, &mxc, b"hellohello").await;
    }
}

#[tokio::test]
async fn a_length_that_is_malformed_is_ignored() {
    let (_server, alice, bob, mxc) = reserved("").await;

    let answer = alice.put(&mxc).complete().header("upload-length", "many").body("hello").await;

    is_stored(&answer, &bob, &mxc, b"hello").await;
}

#[tokio::test]
async fn more_than_was_announced_is_dropped() {
    let (server, alice, _, mxc) = reserved("").await;

    let upload = send_chunked(alice.put(&mxc).complete().header("upload-length", "10"), b"hello hello").await;

    assert_eq!(upload.response().await.error().0, 400);
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn fewer_than_were_announced_are_dropped() {
    let (server, alice, _, mxc) = reserved("").await;

    let upload = send_chunked(alice.put(&mxc).complete().header("upload-length", "10"), b"hello").await;

    assert_eq!(upload.finish().await.error().0, 400);
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn parts_that_become_more_or_fewer_than_announced_are_dropped() {
    for (rest, complete) in [("hello!", true), ("hello!", false), ("hell", true)] {
        let (server, alice, _, mxc) = reserved("").await;
        alice.put(&mxc).incomplete().header("upload-length", "10").body("hello").await;
        let patch = alice.patch(&mxc, 5);
        let patch = if complete { patch.complete() } else { patch.incomplete() };

        let answer = send_chunked(patch, rest.as_bytes()).await.finish().await;

        assert_eq!(answer.error().0, 400, "{rest}");
        is_free(&server, &alice, &mxc).await;
    }
}

#[tokio::test]
async fn those_who_read_more_than_was_announced_are_aborted() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = send_chunked(alice.put(&mxc).complete().header("upload-length", "10"), b"hello").await;
    let mut reader = bob.get(paths::download(&mxc)).open().await;
    assert_eq!(reader.header("content-length"), "10");
    reader.bytes(5).await;

    upload.send("hello!").await;

    assert_eq!(upload.response().await.status(), 400);
    assert!(b"hello".starts_with(&reader.aborted().await));
}

#[tokio::test]
async fn an_announced_length_is_the_length_of_the_download() {
    let (_server, alice, bob, mxc) = reserved("").await;
    alice.put(&mxc).incomplete().header("upload-length", "10").body("hello").await;
    let mut patch = alice.patch(&mxc, 5).complete().feed(5).await;
    patch.send("he").await;

    let mut reader = bob.get(paths::download(&mxc)).open().await;

    assert_eq!(reader.header("content-length"), "10");
    assert_eq!(reader.bytes(7).await, "hellohe");
    patch.send("llo").await;
    patch.finish().await;
    assert_eq!(reader.whole().await, "llo");
}

#[tokio::test]
async fn an_upload_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let (_server, alice, _, mxc) = reserved(LIMIT).await;

    let announced = alice.put(&mxc).incomplete().header("upload-length", "102401");
    too_large(&refusal_before_the_body(announced, 10).await);
    too_large(&refusal_before_the_body(alice.put(&mxc).complete(), 102_401).await);

    assert_eq!(offset_of(&alice, &mxc).await, 0);
}

#[tokio::test]
async fn an_upload_that_becomes_too_large_is_dropped() {
    let (server, alice, _, mxc) = reserved(LIMIT).await;
    alice.put(&mxc).incomplete().body(pattern(100_000)).await;

    let upload = send_chunked(alice.patch(&mxc, 100_000).complete(), &pattern(2401)).await;

    too_large(&upload.response().await);
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn the_size_limit_itself_is_allowed() {
    let (_server, alice, bob, mxc) = reserved(LIMIT).await;
    alice.put(&mxc).incomplete().body(pattern(100_000)).await;

    let last = alice.patch(&mxc, 100_000).complete().body(pattern(102_400)[100_000..].to_vec()).await;

    is_stored(&last, &bob, &mxc, &pattern(102_400)).await;
}

#[tokio::test]
async fn parts_do_not_get_past_a_quota() {
    let (_server, alice, _, mxc) = reserved("limits.max_user_bytes = '100KiB'").await;
    alice.put(&mxc).incomplete().body(pattern(100_000)).await;

    let refusal = alice.patch(&mxc, 100_000).complete().body(pattern(2401)).await;

    assert_eq!(refusal.error(), (403, "M_FORBIDDEN".to_owned()));
    assert!(matches!(offset_of(&alice, &mxc).await, 0 | 100_000));
}

#[tokio::test]
async fn a_quota_that_is_reached_meanwhile_is_reached_at_the_end() {
    let (_server, alice, _, mxc) = reserved("limits.max_user_media = 1").await;
    interrupted(&alice, &mxc, 10, b"hell").await;
    alice.upload("the only one").await;

    let refusal = alice.patch(&mxc, 4).complete().body("o hell").await;

    assert_eq!(refusal.error(), (403, "M_FORBIDDEN".to_owned()));
    assert!(matches!(offset_of(&alice, &mxc).await, 0 | 4));
}

#[tokio::test]
async fn the_last_byte_is_held_back_until_it_is_recorded() {
    let (_server, alice, bob, mxc) = reserved("limits.max_user_media = 1").await;
    let mut upload = arriving(&alice, &mxc, 10, b"hello hel").await;
    let mut reader = bob.get(paths::download(&mxc)).open().await;
    assert_eq!(reader.bytes(9).await, "hello hel");
    alice.upload("the only one").await;

    upload.send("l").await;

    assert_eq!(upload.finish().await.status(), 403);
    assert_eq!(reader.aborted().await, "");
}
