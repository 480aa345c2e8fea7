//! Thumbnails of media of other servers: from their origin, or made here.

use std::{future::IntoFuture as _, time::Duration};

use tintype_testing::{paths, pictures, until};

use super::pair;

const MADE_HERE: &str = "federation.remote_thumbnails = 'local'";

#[tokio::test]
async fn a_thumbnail_comes_from_the_origin() {
    for query in ["width=96&height=96&method=crop", "width=320&height=240&method=scale", "width=50&height=30"] {
        let (ours, theirs, alice, bob) = pair("", "").await;
        let mxc = bob.upload(pictures::jpeg(1600, 1200)).content_type("image/jpeg").await;

        let thumbnail = alice.get(paths::thumbnail(&mxc, query)).await;

        assert_eq!(thumbnail.status(), 200, "{:?}", thumbnail.bytes());
        let same = bob.get(paths::thumbnail(&mxc, query)).await;
        assert_eq!(thumbnail.bytes(), same.bytes());
        for header in ["content-type", "content-disposition", "etag", "content-length"] {
            assert_eq!(thumbnail.header(header), same.header(header), "{header}");
        }
        assert_eq!(ours.metric("tintype_fetches_total").await, 1);
        assert_eq!(theirs.requests("federation_download").await, 0, "nobody asked for the whole");
        assert_eq!(ours.metric("tintype_thumbnails_made_total").await, 0);
    }
}

#[tokio::test]
async fn a_thumbnail_of_the_origin_is_kept() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload(pictures::jpeg(1600, 1200)).content_type("image/jpeg").await;
    let path = paths::thumbnail(&mxc, "width=96&height=96&method=crop");
    let first = alice.get(path.as_str()).await;
    drop(theirs.drain().await);

    let again = alice.get(path.as_str()).await;
    let _ours = ours.restart().await;
    let after_a_restart = alice.get(path.as_str()).await;

    assert_eq!((again.status(), again.bytes()), (200, first.bytes()));
    assert_eq!((after_a_restart.status(), after_a_restart.bytes()), (200, first.bytes()));
}

#[tokio::test]
async fn a_thumbnail_is_made_here_where_the_operator_says_so() {
    let (ours, theirs, alice, bob) = pair(MADE_HERE, "").await;
    let mxc = bob.upload(pictures::jpeg(1600, 1200)).content_type("image/jpeg").await;

    let scaled = alice.get(paths::thumbnail(&mxc, "width=320&height=240&method=scale")).await;
    let cropped = alice.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;

    assert_eq!(pictures::look(scaled.bytes()), ("jpeg", 320, 240));
    assert_eq!(pictures::look(cropped.bytes()), ("jpeg", 96, 96));
    assert_eq!(ours.metric("tintype_thumbnails_made_total").await, 2);
    assert_eq!(theirs.requests("federation_thumbnail").await, 0);
    assert_eq!(theirs.requests("federation_download").await, 1);
}

#[tokio::test]
async fn of_what_is_kept_a_thumbnail_is_made_here_and_its_origin_is_not_asked() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload(pictures::jpeg(1600, 1200)).content_type("image/jpeg").await;
    alice.get(paths::download(&mxc)).await;

    let thumbnail = alice.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;

    assert_eq!(pictures::look(thumbnail.bytes()), ("jpeg", 96, 96));
    assert_eq!(theirs.requests("federation_thumbnail").await, 0);
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);

    drop(theirs.drain().await);
    let _ours = ours.restart().await;
    let kept = alice.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;
    assert_eq!(kept.bytes(), thumbnail.bytes());
}

#[tokio::test]
async fn a_picture_smaller_than_its_thumbnail_is_its_own() {
    for config in ["", MADE_HERE] {
        let (_ours, _theirs, alice, bob) = pair(config, "").await;
        let picture = pictures::png(30, 20);
        let mxc = bob.upload(picture.clone()).content_type("image/png").await;

        for _ in 0..2 {
            let thumbnail = alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;
            assert_eq!((thumbnail.status(), thumbnail.bytes()), (200, &picture.clone().into()));
            assert_eq!(thumbnail.header("content-type"), "image/png");
        }
    }
}

#[tokio::test]
async fn a_picture_too_large_for_its_origin_is_too_large() {
    let (ours, _theirs, alice, bob) = pair("", "thumbnails.max_pixels = 10000").await;
    let mxc = bob.upload(pictures::jpeg(200, 200)).content_type("image/jpeg").await;

    let refused = alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;

    assert_eq!(refused.error(), (502, "M_TOO_LARGE".to_owned()));
    ours.holds_nothing().await;
}

#[tokio::test]
async fn a_picture_too_large_to_be_worked_on_here_is_too_large() {
    let config = format!("thumbnails.max_pixels = 10000\n{MADE_HERE}");
    let (_ours, _theirs, alice, bob) = pair(&config, "").await;
    let mxc = bob.upload(pictures::jpeg(200, 200)).content_type("image/jpeg").await;

    let refused = alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;

    assert_eq!(refused.error(), (502, "M_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_thumbnail_of_what_is_too_large_to_be_fetched_comes_from_the_origin_only() {
    let limit = "limits.max_remote_size = '20KiB'";
    let picture = pictures::jpeg(1600, 1200);
    assert!(picture.len() > 20 * 1024);
    for (config, status) in [(limit.to_owned(), 200), (format!("{limit}\n{MADE_HERE}"), 502)] {
        let (_ours, _theirs, alice, bob) = pair(&config, "").await;
        let mxc = bob.upload(picture.clone()).content_type("image/jpeg").await;
        assert_eq!(alice.get(paths::thumbnail(&mxc, "width=32&height=32")).await.status(), status);
    }
}

#[tokio::test]
async fn of_what_is_no_picture_there_is_no_thumbnail() {
    for config in ["", MADE_HERE] {
        let (_ours, _theirs, alice, bob) = pair(config, "").await;
        let mxc = bob.upload("hello").content_type("image/png").await;

        let refused = alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;

        assert_eq!(refused.error(), (400, "M_UNKNOWN".to_owned()), "{config}");
    }
}

#[tokio::test]
async fn a_thumbnail_of_what_is_not_there_is_not_found() {
    for config in ["", MADE_HERE] {
        let (_ours, theirs, alice, _) = pair(config, "").await;
        let path = format!("/_matrix/client/v1/media/thumbnail/{}/missing?width=96&height=96", theirs.name());

        assert_eq!(alice.get(path).await.error(), (404, "M_NOT_FOUND".to_owned()), "{config}");
    }
}

#[tokio::test]
async fn a_thumbnail_waits_for_its_upload_at_the_origin() {
    for config in ["", MADE_HERE] {
        let (ours, theirs, alice, bob) = pair(config, "").await;
        let mxc = bob.create().await;
        let path = paths::thumbnail(&mxc, "width=96&height=96&method=crop");
        let waiting = ours.waiting(alice.get(path)).await;
        until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

        bob.put(&mxc).header("content-type", "image/jpeg").body(pictures::jpeg(400, 300)).await;

        let thumbnail = waiting.await;
        assert_eq!(thumbnail.status(), 200, "{config}: {:?}", thumbnail.bytes());
        assert_eq!(pictures::look(thumbnail.bytes()), ("jpeg", 96, 96));
    }
}

#[tokio::test]
async fn many_who_ask_for_one_thumbnail_cause_one_request() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    let mxc = bob.upload(pictures::jpeg(1600, 1200)).content_type("image/jpeg").await;
    let path = paths::thumbnail(&mxc, "width=96&height=96&method=crop");

    let asking = (0..16).map(|_| tokio::spawn(alice.get(path.as_str()).into_future())).collect::<Vec<_>>();
    for answer in asking {
        assert_eq!(answer.await.unwrap().status(), 200);
    }

    assert_eq!(theirs.requests("federation_thumbnail").await, 1);
    assert_eq!(ours.metric("tintype_fetches_total").await, 1);
}

#[tokio::test]
async fn who_waits_for_a_thumbnail_outlasts_who_does_not() {
    for config in ["", MADE_HERE] {
        let (ours, theirs, alice, bob) = pair(config, "").await;
        let mxc = bob.create().await;
        let path = |timeout| paths::thumbnail(&mxc, format!("width=96&height=96&method=crop&timeout_ms={timeout}"));
        let short = ours.waiting(alice.get(path(1000))).await;
        let long = ours.waiting(alice.get(path(20_000))).await;
        until("the origin waits", async || theirs.waiting_downloads().await == 1).await;

        theirs.advance(Duration::from_secs(1));
        assert_eq!(short.await.status(), 504);
        until("the origin is asked again", async || theirs.waiting_downloads().await == 1).await;
        bob.put(&mxc).body(pictures::jpeg(400, 300)).await;

        assert_eq!(pictures::look(long.await.bytes()), ("jpeg", 96, 96));
    }
}
