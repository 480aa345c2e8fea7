//! Ephemeral media of other servers (MSC4425): kept for a day at most, and gone when its origin says so.

use std::time::Duration;

use http::Method;
use tintype_domain::Mxc;
use tintype_testing::{Client, paths, pattern, pictures, until};

use super::{ask, pair};

const DAY: Duration = Duration::from_hours(24);
const LARGE: usize = 300_000;
const SIZE: &str = "width=96&height=96&method=crop";

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

async fn ephemeral(client: &Client, body: impl Into<bytes::Bytes>) -> Mxc {
    client.post(paths::EPHEMERAL_UPLOAD).body(body).await.mxc()
}

async fn delete(client: &Client, mxc: &Mxc) {
    assert_eq!(client.request(Method::DELETE, paths::delete(mxc)).await.status(), 200);
}

#[tokio::test]
async fn other_servers_are_told_that_media_is_ephemeral() {
    let (ours, theirs, _, bob) = pair("", "proposals.stable = []").await;
    let picture = pictures::jpeg(600, 400);
    let (kept, mxc) = (bob.upload(picture.clone()).await, ephemeral(&bob, picture).await);

    for (endpoint, query) in [("download", ""), ("thumbnail", SIZE)] {
        let path = |mxc: &Mxc| format!("/_matrix/federation/v1/media/{endpoint}/{}?{query}", mxc.media_id);
        let text = |answer: &[u8]| String::from_utf8_lossy(answer).into_owned();
        let of_ephemeral = text(ask(&ours, &theirs, &path(&mxc)).await.bytes());
        let of_kept = text(ask(&ours, &theirs, &path(&kept)).await.bytes());
        assert!(of_ephemeral.contains("{\"org.matrix.msc4425.ephemeral\":true}"), "{endpoint}");
        assert!(of_kept.contains("\r\n{}\r\n"), "{endpoint}");
    }
}

#[tokio::test]
async fn it_is_kept_for_a_day_and_no_use_of_it_makes_that_longer() {
    for size in [10, LARGE] {
        let (ours, theirs, alice, bob) = pair("", "").await;
        let mxc = ephemeral(&bob, pattern(size)).await;
        let path = paths::download(&mxc);
        let first = alice.get(path.as_str()).await;
        assert_eq!((first.status(), first.header("cache-control")), (200, "no-store"));
        theirs.drain().await;

        for _ in 0..23 {
            ours.advance(Duration::from_hours(1));
            assert_eq!(alice.get(path.as_str()).await.bytes()[..], pattern(size)[..]);
        }
        ours.advance(Duration::from_hours(1));

        assert_eq!(alice.get(path.as_str()).await.status(), 502);
        until("it is gone from the disk", async || ours.blobs().is_empty()).await;
    }
}

#[tokio::test]
async fn a_day_is_a_day_with_a_restart_in_it() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = ephemeral(&bob, pattern(LARGE)).await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    theirs.drain().await;
    ours.advance(Duration::from_mins(24 * 60 - 5));

    let ours = ours.restart().await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    ours.advance(Duration::from_mins(5));

    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 502);
    until("it is gone from the disk", async || ours.blobs().is_empty()).await;
}

#[tokio::test]
async fn what_is_fetched_again_has_a_day_of_its_own() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = ephemeral(&bob, pattern(LARGE)).await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    ours.advance(DAY);
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    assert_eq!(ours.metric("tintype_fetches_total").await, 2);
    theirs.drain().await;

    ours.advance(Duration::from_mins(24 * 60 - 2));
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    ours.advance(Duration::from_mins(2));

    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 502);
}

#[tokio::test]
async fn a_thumbnail_of_the_origin_has_a_day_of_its_own() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = ephemeral(&bob, pictures::jpeg(1600, 1200)).await;
    let path = paths::thumbnail(&mxc, SIZE);
    let thumbnail = alice.get(path.as_str()).await;
    assert_eq!((thumbnail.status(), thumbnail.header("cache-control")), (200, "no-store"));
    theirs.drain().await;

    ours.advance(Duration::from_mins(24 * 60 - 2));
    assert_eq!(alice.get(path.as_str()).await.status(), 200);
    ours.advance(Duration::from_mins(2));

    assert_eq!(alice.get(path.as_str()).await.status(), 502);
}

#[tokio::test]
async fn a_thumbnail_made_here_goes_with_what_it_was_made_from() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = ephemeral(&bob, pictures::png(600, 600)).await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    ours.advance(Duration::from_hours(23));
    let path = paths::thumbnail(&mxc, "width=400&height=400");
    assert_eq!(alice.get(path.as_str()).await.status(), 200);
    theirs.drain().await;

    ours.advance(Duration::from_hours(1));

    assert_eq!(alice.get(path.as_str()).await.status(), 502);
    until("all is gone from the disk", async || ours.blobs().is_empty()).await;
}

#[tokio::test]
async fn what_its_origin_has_deleted_goes_when_that_is_learnt() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = ephemeral(&bob, pictures::jpeg(1600, 1200)).await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    ours.advance(DAY / 2);
    let path = paths::thumbnail(&mxc, SIZE);
    assert_eq!(alice.get(path.as_str()).await.status(), 200);
    delete(&bob, &mxc).await;
    // Of what is kept until then, the copy of the media ends first; the thumbnail was made from it.
    ours.advance(DAY / 2);

    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());

    assert_eq!(alice.get(path).await.error(), not_found());
    until("all is gone from the disk", async || ours.blobs().is_empty()).await;
}

#[tokio::test]
async fn a_404_of_the_origin_takes_all_responses() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = ephemeral(&bob, pictures::jpeg(1600, 1200)).await;
    let (first, second) = (paths::thumbnail(&mxc, SIZE), paths::thumbnail(&mxc, "width=320&height=240"));
    assert_eq!(alice.get(first.as_str()).await.status(), 200);
    delete(&bob, &mxc).await;

    assert_eq!(alice.get(second).await.error(), not_found());

    assert_eq!(alice.get(first).await.error(), not_found());
    assert_eq!(ours.metric("tintype_fetches_total").await, 3);
}

#[tokio::test]
async fn retention_settings_make_a_day_shorter_and_not_longer() {
    let (ours, theirs, alice, bob) = pair("remote_cache.max_age = 'never'\nremote_cache.max_size = 'never'", "").await;
    let (mxc, kept) = (ephemeral(&bob, pattern(LARGE)).await, bob.upload("kept").await);
    for mxc in [&mxc, &kept] {
        assert_eq!(alice.get(paths::download(mxc)).await.status(), 200);
    }
    theirs.drain().await;

    ours.advance(DAY);

    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 502);
    assert_eq!(alice.get(paths::download(&kept)).await.bytes(), "kept");
}

#[tokio::test]
async fn a_deletion_at_the_origin_cuts_what_it_is_giving() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    let mxc = bob.post(paths::EPHEMERAL_CREATE).await.mxc();
    let mut upload = bob.put(&mxc).feed(LARGE).await;
    upload.send(pattern(1000)).await;
    let mut download = alice.get(paths::download(&mxc)).open().await;
    download.bytes(1000).await;

    delete(&bob, &mxc).await;

    assert_eq!(download.aborted().await, "");
    ours.holds_nothing().await;
}

#[tokio::test]
async fn a_reader_is_cut_when_its_day_is_over() {
    let (ours, _theirs, alice, bob) = pair("", "").await;
    // More than the buffers of a connection take.
    let mxc = ephemeral(&bob, pattern(40 * 1024 * 1024)).await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    let mut download = alice.get(paths::download(&mxc)).open().await;
    download.bytes(1).await;

    ours.advance(DAY);
    until("it is gone from the disk", async || ours.blobs().is_empty()).await;

    assert!(download.aborted().await.len() < 32 * 1024 * 1024);
}
