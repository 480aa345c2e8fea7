//! The head of an answer whose body is arriving, and conditions on it.

use http::Method;
use tintype_domain::Mxc;
use tintype_testing::{Client, Receiving, Sending, TestServer, paths};

use super::{open, open_range, reserved};

/// An upload of ten bytes under way, of which four are there.
async fn arriving() -> (TestServer, Client, Client, Mxc, Sending) {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("0123").await;
    (server, alice, bob, mxc, upload)
}

async fn finish(mut upload: Sending) {
    upload.send("456789").await;
    assert_eq!(upload.finish().await.status(), 200);
}

#[tokio::test]
async fn the_head_is_that_of_the_upload() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let path = paths::put(&mxc) + "?filename=a.png";
    let mut upload = alice.request(Method::PUT, path).header("content-type", "image/png").feed(10).await;
    upload.send("x").await;

    let download = open(&bob, &mxc).await;
    let renamed = bob.get(paths::download(&mxc) + "/b.png").open().await;

    assert_eq!(download.status(), 200);
    assert_eq!(download.header("content-type"), "image/png");
    assert_eq!(download.header("content-disposition"), "inline; filename=\"a.png\"");
    assert_eq!(download.header("content-length"), "10");
    assert_eq!(download.header("accept-ranges"), "bytes");
    assert_eq!(renamed.header("content-disposition"), "inline; filename=\"b.png\"");
    upload.break_off();
}

#[tokio::test]
async fn where_the_sender_gives_no_length_there_is_none() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;
    upload.send("hello").await;

    let download = open(&bob, &mxc).await;

    assert_eq!((download.header("content-length"), download.header("transfer-encoding")), ("", "chunked"));
    upload.finish().await;
    assert_eq!(download.whole().await, "hello");
}

#[tokio::test]
async fn what_arrives_is_disarmed_like_what_is_stored() {
    let (_server, _, bob, mxc, upload) = arriving().await;

    let while_it_arrives = open(&bob, &mxc).await;
    finish(upload).await;
    let afterwards = bob.get(paths::download(&mxc)).await;

    for name in [
        "content-type",
        "content-disposition",
        "content-length",
        "content-security-policy",
        "cross-origin-resource-policy",
        "x-content-type-options",
        "referrer-policy",
        "x-robots-tag",
        "accept-ranges",
        "access-control-allow-origin",
    ] {
        assert_ne!(afterwards.header(name), "", "{name}");
        assert_eq!(while_it_arrives.header(name), afterwards.header(name), "{name}");
    }
    assert!(!while_it_arrives.header("cache-control").contains("public"));
}

#[tokio::test]
async fn head_says_at_once_what_get_says() {
    let (_server, _, bob, mxc, _upload) = arriving().await;

    let get = open(&bob, &mxc).await;
    let head = bob.head(paths::download(&mxc)).await;

    assert_eq!((head.status(), head.bytes().len()), (200, 0));
    for name in ["content-type", "content-disposition", "content-length", "etag", "accept-ranges", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
}

#[tokio::test]
async fn the_entity_tag_is_that_of_the_attempt() {
    let (_server, alice, bob, mxc, upload) = arriving().await;
    let other = alice.create().await;
    let mut other_upload = alice.put(&other).feed(10).await;
    other_upload.send("0123").await;

    let first = open(&bob, &mxc).await.header("etag").to_owned();
    let same = open(&bob, &mxc).await.header("etag").to_owned();
    let another = open(&bob, &other).await.header("etag").to_owned();
    finish(upload).await;
    let stored = bob.get(paths::download(&mxc)).await.header("etag").to_owned();

    assert!(first.starts_with("\"arriving-") && first.ends_with('"'), "{first}");
    assert_eq!(first, same);
    assert_ne!(first, another);
    assert_ne!(first, stored);
    drop(other_upload);
}

#[tokio::test]
async fn a_second_attempt_has_another_entity_tag() {
    let (_server, alice, bob, mxc, upload) = arriving().await;
    let download = open(&bob, &mxc).await;
    let first = download.header("etag").to_owned();
    upload.break_off();
    download.aborted().await;

    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("abcd").await;
    let second = bob.get(paths::download(&mxc)).header("range", "bytes=0-1").header("if-range", &first).open().await;

    assert_ne!(second.header("etag"), first);
    // What the client has is of no use any more: it gets all of the new one.
    assert_eq!(second.status(), 200);
    upload.send("efghij").await;
    assert_eq!(second.whole().await, "abcdefghij");
}

#[tokio::test]
async fn conditions_are_about_the_attempt() {
    let (_server, _, bob, mxc, _upload) = arriving().await;
    let etag = open(&bob, &mxc).await.header("etag").to_owned();
    let with = |name: &'static str, value: &str| bob.get(paths::download(&mxc)).header(name, value).open();

    assert_eq!(with("if-none-match", &etag).await.status(), 304);
    assert_eq!(with("if-none-match", "*").await.status(), 304);
    assert_eq!(with("if-none-match", "\"other\"").await.status(), 200);
    assert_eq!(with("if-match", &etag).await.status(), 200);
    assert_eq!(with("if-match", "\"other\"").await.status(), 412);
}

#[tokio::test]
async fn a_range_of_the_attempt_can_be_asked_for() {
    let (_server, _, bob, mxc, upload) = arriving().await;
    let etag = open_range(&bob, &mxc, "bytes=0-1").await.header("etag").to_owned();
    let with = |etag: &str| bob.get(paths::download(&mxc)).header("range", "bytes=2-3").header("if-range", etag).open();

    let same: Receiving = with(&etag).await;
    let other = with("\"other\"").await;
    finish(upload).await;
    let afterwards = with(&etag).await;

    assert_eq!((same.status(), same.header("content-range")), (206, "bytes 2-3/10"));
    assert_eq!(same.whole().await, "23");
    assert_eq!((other.status(), &other.whole().await[..]), (200, &b"0123456789"[..]));
    assert_eq!((afterwards.status(), &afterwards.whole().await[..]), (200, &b"0123456789"[..]));
}
