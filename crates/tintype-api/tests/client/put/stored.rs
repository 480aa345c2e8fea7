//! What is put is there, whatever its size and however it is sent.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tintype_testing::{paths, pattern};

use super::{EXPIRED, INLINE, MIB, forbidden, reserved};

#[tokio::test]
async fn what_is_put_is_what_is_downloaded() {
    let (_server, alice, bob, mxc) = reserved("").await;

    let path = paths::put(&mxc) + "?filename=%E2%98%83.png";
    let answer = alice.request(Method::PUT, path).header("content-type", "image/png").body("hello").await;

    assert_eq!((answer.status(), answer.json()), (200, json!({})));
    let download = bob.get(paths::download(&mxc)).await;
    assert_eq!(download.bytes(), "hello");
    assert_eq!(download.header("content-type"), "image/png");
    assert_eq!(download.header("content-disposition"), "inline; filename*=utf-8''%E2%98%83.png");
}

#[tokio::test]
async fn without_a_content_type_it_is_an_octet_stream() {
    let (_server, alice, _, mxc) = reserved("").await;

    alice.put(&mxc).body("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn every_byte_comes_back_whatever_the_size() {
    let (server, alice, ..) = reserved("").await;

    for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 4 * INLINE - 1, 4 * INLINE, 4 * INLINE + 1, 5 * MIB] {
        let mxc = alice.create().await;
        assert_eq!(alice.put(&mxc).body(pattern(length)).await.status(), 200, "{length}");
        let download = alice.get(paths::download(&mxc)).await;
        assert!(*download.bytes() == pattern(length), "{length} bytes came back as {}", download.bytes().len());
        assert_eq!(download.content_length(), length);
    }
    assert_eq!(server.blobs().len(), 5);
}

#[tokio::test]
async fn a_chunked_body_is_as_good_as_one_that_says_its_length() {
    let (_server, alice, ..) = reserved("").await;

    for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 4 * INLINE - 1, 4 * INLINE, 4 * INLINE + 1, 5 * MIB] {
        let mxc = alice.create().await;
        let mut upload = alice.put(&mxc).feed_chunked().await;
        for piece in pattern(length).chunks(100_000) {
            upload.send(piece).await;
        }
        assert_eq!(upload.finish().await.status(), 200, "{length}");
        assert!(*alice.get(paths::download(&mxc)).await.bytes() == pattern(length), "{length}");
    }
}

#[tokio::test]
async fn every_version_of_the_path_takes_the_upload() {
    let (_server, alice, ..) = reserved("").await;

    for version in ["v3", "r0", "v1"] {
        let mxc = alice.create().await;
        let path = paths::put(&mxc).replace("/v3/", &format!("/{version}/"));
        assert_eq!(alice.request(Method::PUT, path).body("hello").await.status(), 200, "{version}");
        assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    }
    let mxc = alice.create().await;
    assert_eq!(alice.request(Method::PUT, paths::unstable_put(&mxc)).body("hello").await.status(), 200);
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn the_creator_is_the_user_and_not_the_token() {
    let (server, _, _, mxc) = reserved("").await;

    let elsewhere = server.user("alice").await;

    assert_eq!(elsewhere.put(&mxc).body("hello").await.status(), 200);
}

#[tokio::test]
async fn a_reservation_can_be_used_until_it_expires() {
    let (server, alice, _, mxc) = reserved("").await;

    server.advance(EXPIRED.saturating_sub(Duration::from_millis(2)));

    assert_eq!(alice.put(&mxc).body("hello").await.status(), 200);
}

#[tokio::test]
async fn what_is_put_counts_for_the_quota_when_it_is_there() {
    let (_server, alice, _, mxc) = reserved("limits.max_user_media = 1").await;
    let second = alice.create().await;

    assert_eq!(alice.put(&mxc).body("first").await.status(), 200);

    assert_eq!(alice.put(&second).body("second").await.error(), forbidden());
    assert_eq!(alice.post(paths::UPLOAD).body("second").await.error(), forbidden());
}

#[tokio::test]
async fn the_same_bytes_are_one_file_whichever_way_they_came() {
    let (server, alice, bob, mxc) = reserved("").await;

    bob.upload(pattern(MIB)).await;
    alice.put(&mxc).body(pattern(MIB)).await;

    assert_eq!(server.blobs().len(), 1);
    assert!(*bob.get(paths::download(&mxc)).await.bytes() == pattern(MIB));
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart() {
    let (server, alice, _, mxc) = reserved("").await;
    let large = alice.create().await;
    alice.put(&mxc).header("content-type", "text/plain").body("hello").await;
    alice.put(&large).body(pattern(MIB)).await;

    let _server = server.restart().await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(alice.get(paths::download(&mxc)).await.header("content-type"), "text/plain");
    assert!(*alice.get(paths::download(&large)).await.bytes() == pattern(MIB));
}

#[tokio::test]
async fn a_plain_upload_hears_nothing_of_resumable_ones() {
    let (_server, alice, _, mxc) = reserved("").await;

    let answer = alice.put(&mxc).body("hello").await;

    for name in ["upload-complete", "upload-offset", "upload-limit", "location"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
}
