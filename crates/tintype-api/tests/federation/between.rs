//! Two servers that have never met: found, signed, verified, streamed, kept.

use tintype_testing::{TestServer, paths, pattern, pictures};

#[tokio::test]
async fn a_user_reads_what_was_uploaded_to_another_server() {
    let (ours, theirs) = tokio::join!(TestServer::federating("ours", ""), TestServer::federating("theirs", ""));
    let (alice, bob) = (ours.user("alice").await, theirs.user("bob").await);
    let mxc = bob.upload(pattern(300_000)).content_type("image/x-odd; a=\"b;c\"").filename("фото 🐈.png").await;

    let answer = alice.get(paths::download(&mxc)).await;

    assert_eq!(answer.status(), 200, "{:?}", answer.bytes());
    assert_eq!(answer.bytes()[..], pattern(300_000)[..]);
    assert_eq!(answer.header("content-type"), "image/x-odd; a=\"b;c\"");
    let original = bob.get(paths::download(&mxc)).await;
    assert_eq!(answer.header("content-disposition"), original.header("content-disposition"));
}

#[tokio::test]
async fn a_thumbnail_comes_from_the_origin() {
    let (ours, theirs) = tokio::join!(TestServer::federating("ours", ""), TestServer::federating("theirs", ""));
    let (alice, bob) = (ours.user("alice").await, theirs.user("bob").await);
    let mxc = bob.upload(pictures::jpeg(1600, 1200)).content_type("image/jpeg").await;

    let thumbnail = alice.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;

    assert_eq!(thumbnail.status(), 200, "{:?}", thumbnail.bytes());
    let same = bob.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;
    assert_eq!(thumbnail.bytes(), same.bytes());
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);
}
