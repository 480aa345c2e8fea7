//! Uploads that are given up by those who sent them.

use http::Method;
use tintype_testing::{paths, pattern};

use super::{interrupted, is_free, reserved};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn what_is_cancelled_is_dropped_and_the_uri_stays_reserved() {
    for length in [10, 3 * MIB] {
        let (server, alice, _, mxc) = reserved("").await;
        interrupted(&alice, &mxc, 2 * length, &pattern(length)).await;

        let cancelled = alice.request(Method::DELETE, paths::put(&mxc)).await;

        assert_eq!((cancelled.status(), cancelled.bytes().len()), (204, 0));
        is_free(&server, &alice, &mxc).await;
    }
}

#[tokio::test]
async fn what_has_not_begun_may_be_cancelled_too() {
    let (server, alice, _, mxc) = reserved("").await;

    for _ in 0..2 {
        assert_eq!(alice.request(Method::DELETE, paths::put(&mxc)).await.status(), 204);
    }

    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn what_is_stored_cannot_be_cancelled() {
    let (_server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).complete().body("hello").await;

    let refusal = alice.request(Method::DELETE, paths::put(&mxc)).await;

    assert_eq!(refusal.status() / 100, 4, "{refusal:?}");
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_cancelled_upload_cannot_be_continued_where_it_was() {
    let (_server, alice, _, mxc) = reserved("").await;
    interrupted(&alice, &mxc, 10, b"hell").await;
    alice.request(Method::DELETE, paths::put(&mxc)).await;

    let refusal = alice.patch(&mxc, 4).complete().body("o hell").await;

    assert_eq!((refusal.status(), refusal.header("upload-offset")), (409, "0"));
}

#[tokio::test]
async fn those_who_read_what_is_cancelled_are_aborted() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).complete().feed(10).await;
    upload.send("hell").await;
    let mut reader = bob.get(paths::download(&mxc)).open().await;
    reader.bytes(4).await;

    alice.request(Method::DELETE, paths::put(&mxc)).await;

    assert_eq!(reader.aborted().await, "");
}
