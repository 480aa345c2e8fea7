//! The deprecated endpoints and media of other servers: who comes without a token gets what was kept before the freeze.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{TestServer, paths, pattern, pictures, until};

use super::pair;

const FROM_TOMORROW: &str = "legacy.freeze = '2026-01-02T00:00:00Z'";

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

/// Checks that the server was asked for nothing at all.
async fn was_not_asked(server: &TestServer) {
    for endpoint in ["federation_download", "federation_thumbnail", "legacy_download", "legacy_thumbnail"] {
        assert_eq!(server.requests(endpoint).await, 0, "{endpoint}");
    }
}

fn both(mxc: &Mxc) -> [String; 2] {
    [paths::legacy_download(mxc), paths::legacy_thumbnail(mxc, "width=96&height=96")]
}

#[tokio::test]
async fn without_a_freeze_anybody_reads_media_of_others() {
    let (ours, theirs, _, bob) = pair("legacy.freeze = 'never'", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).content_type("image/jpeg").filename("a.jpg").await;

    let thumbnail = ours.anonymous().get(paths::legacy_thumbnail(&mxc, "width=96&height=96&method=crop")).await;
    let whole = ours.anonymous().get(paths::legacy_download(&mxc)).await;

    assert_eq!(pictures::look(thumbnail.bytes()), ("jpeg", 96, 96));
    assert!(*whole.bytes() == pictures::jpeg(400, 300));
    assert_eq!(whole.header("content-disposition"), "inline; filename=\"a.jpg\"");
    let kept = ours.anonymous().get(paths::legacy_download(&mxc)).await;
    assert!(kept.header("cache-control").starts_with("public"));
    // Between the servers it is signed all the same.
    assert_eq!(theirs.requests("legacy_download").await + theirs.requests("legacy_thumbnail").await, 0);
}

#[tokio::test]
async fn allow_remote_false_gives_only_what_is_kept() {
    let (ours, theirs, alice, bob) = pair("legacy.freeze = 'never'", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).content_type("image/jpeg").await;
    let [download, thumbnail] = both(&mxc);
    let (download, thumbnail) = (download + "?allow_remote=false", thumbnail + "&allow_remote=false");

    assert_eq!(ours.anonymous().get(download.as_str()).await.error(), not_found());
    assert_eq!(ours.anonymous().get(thumbnail.as_str()).await.error(), not_found());
    was_not_asked(&theirs).await;

    alice.get(paths::download(&mxc)).await;
    assert_eq!(ours.anonymous().get(download.as_str()).await.status(), 200);
    assert_eq!(ours.anonymous().get(thumbnail.as_str()).await.status(), 200);
    assert_eq!(theirs.requests("federation_thumbnail").await, 0);
}

#[tokio::test]
async fn allow_remote_is_true_or_false() {
    let (ours, theirs, _, bob) = pair("legacy.freeze = 'never'", "").await;
    let mxc = bob.upload("hello").await;

    for value in ["nonsense", "1", "", "TRUE"] {
        for path in both(&mxc) {
            let path = format!("{path}{}allow_remote={value}", if path.contains('?') { '&' } else { '?' });
            let refused = ours.anonymous().get(path.as_str()).await;
            assert_eq!(refused.error(), (400, "M_INVALID_PARAM".to_owned()), "{path}");
        }
    }
    was_not_asked(&theirs).await;
    let allowed = ours.anonymous().get(paths::legacy_download(&mxc) + "?allow_remote=true&allow_redirect=true").await;
    assert_eq!(allowed.bytes(), "hello");
}

#[tokio::test]
async fn under_a_freeze_nobody_without_a_token_causes_a_fetch() {
    let (ours, theirs, alice, bob) = pair("legacy.freeze = 'now'", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).content_type("image/jpeg").await;

    for path in both(&mxc) {
        assert_eq!(ours.anonymous().get(path.as_str()).await.error(), not_found(), "{path}");
        assert_eq!(alice.get(path.as_str()).await.error(), not_found(), "a token does not thaw");
        let path = format!("{path}{}allow_remote=true", if path.contains('?') { '&' } else { '?' });
        assert_eq!(ours.anonymous().get(path.as_str()).await.error(), not_found(), "{path}");
    }
    was_not_asked(&theirs).await;
    assert_eq!(ours.metric("tintype_fetches_total").await, 0);
}

#[tokio::test]
async fn what_was_fetched_after_the_freeze_is_frozen() {
    let (ours, _theirs, alice, bob) = pair("legacy.freeze = 'now'", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).content_type("image/jpeg").await;
    alice.get(paths::download(&mxc)).await;
    alice.get(paths::thumbnail(&mxc, "width=96&height=96")).await;

    for path in both(&mxc) {
        assert_eq!(ours.anonymous().get(path.as_str()).await.error(), not_found(), "{path}");
    }
    let _ours = ours.restart().await;
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn nothing_is_made_for_those_from_whom_it_is_kept() {
    let (ours, _theirs, alice, bob) = pair("legacy.freeze = 'now'", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).content_type("image/jpeg").await;
    alice.get(paths::download(&mxc)).await;

    let refused = ours.anonymous().get(paths::legacy_thumbnail(&mxc, "width=96&height=96")).await;

    assert_eq!(refused.error(), not_found());
    assert_eq!(ours.metric("tintype_thumbnails_made_total").await, 0);
}

#[tokio::test]
async fn asking_for_what_is_frozen_does_not_keep_it() {
    let (ours, _theirs, alice, bob) = pair("legacy.freeze = 'now'\nremote_cache.max_age = '2d'", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).content_type("image/jpeg").await;
    let never_asked_for_again = bob.upload("hello").await;
    for mxc in [&mxc, &never_asked_for_again] {
        alice.get(paths::download(mxc)).await;
    }

    ours.advance(Duration::from_hours(30));
    for path in both(&mxc) {
        assert_eq!(ours.anonymous().get(path.as_str()).await.error(), not_found(), "{path}");
    }
    ours.advance(Duration::from_hours(20));

    until("it is evicted", async || {
        ours.advance(Duration::from_mins(1));
        ours.metric("tintype_remote_cache_evicted_total").await > 0
    })
    .await;
    assert_eq!(ours.metric("tintype_remote_cache_evicted_total").await, 2, "both go at once");
}

#[tokio::test]
async fn what_was_fetched_before_the_freeze_stays_and_everything_newer_is_frozen() {
    let (ours, theirs, alice, bob) = pair(FROM_TOMORROW, "").await;
    let (before, after) = (bob.upload(pattern(200_000)).await, bob.upload("after").await);
    assert_eq!(ours.anonymous().get(paths::legacy_download(&before)).await.status(), 200);

    ours.advance(Duration::from_hours(24));
    let asked = theirs.requests("federation_download").await;
    assert_eq!(ours.anonymous().get(paths::legacy_download(&after)).await.error(), not_found());
    assert_eq!(theirs.requests("federation_download").await, asked);
    assert_eq!(alice.get(paths::download(&after)).await.bytes(), "after");
    assert_eq!(ours.anonymous().get(paths::legacy_download(&after)).await.error(), not_found());
    assert!(*ours.anonymous().get(paths::legacy_download(&before)).await.bytes() == pattern(200_000));

    let ours = ours.restart().await;
    assert!(*ours.anonymous().get(paths::legacy_download(&before)).await.bytes() == pattern(200_000));
    assert_eq!(ours.anonymous().get(paths::legacy_download(&after)).await.error(), not_found());
}

#[tokio::test]
async fn a_thumbnail_is_as_old_as_what_it_is_made_from() {
    let (ours, theirs, alice, bob) = pair(FROM_TOMORROW, "").await;
    let (before, after) = (bob.upload(pictures::jpeg(400, 300)).await, bob.upload(pictures::jpeg(300, 400)).await);
    alice.get(paths::download(&before)).await;
    ours.advance(Duration::from_hours(24));
    alice.get(paths::download(&after)).await;

    let old = ours.anonymous().get(paths::legacy_thumbnail(&before, "width=96&height=96&method=crop")).await;
    let new = ours.anonymous().get(paths::legacy_thumbnail(&after, "width=96&height=96&method=crop")).await;

    assert_eq!(pictures::look(old.bytes()), ("jpeg", 96, 96));
    assert_eq!(new.error(), not_found());
    assert_eq!(theirs.requests("federation_thumbnail").await, 0);
    let ours = ours.restart().await;
    let again = ours.anonymous().get(paths::legacy_thumbnail(&before, "width=96&height=96&method=crop")).await;
    assert_eq!(again.bytes(), old.bytes());
}

#[tokio::test]
async fn what_is_evicted_and_fetched_again_after_the_freeze_is_new() {
    let config = format!("{FROM_TOMORROW}\nremote_cache.max_age = '1h'");
    let (ours, _theirs, alice, bob) = pair(&config, "").await;
    let mxc = bob.upload(pattern(200_000)).await;
    alice.get(paths::download(&mxc)).await;
    ours.advance(Duration::from_hours(25));
    until("it is evicted", async || {
        ours.advance(Duration::from_mins(1));
        ours.metric("tintype_remote_cache_evicted_total").await == 1
    })
    .await;

    assert_eq!(ours.anonymous().get(paths::legacy_download(&mxc)).await.error(), not_found());
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
    assert_eq!(ours.anonymous().get(paths::legacy_download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn exceptions_are_fetched_and_given_to_anybody() {
    let theirs = TestServer::federating("theirs", "").await;
    let bob = theirs.user("bob").await;
    let (icon, other) = (bob.upload(pictures::jpeg(400, 300)).await, bob.upload("hello").await);
    let config = format!("legacy.freeze = 'now'\nlegacy.exceptions = ['{icon}']");
    let ours = TestServer::federating("ours", &config).await;

    let thumbnail = ours.anonymous().get(paths::legacy_thumbnail(&icon, "width=96&height=96&method=crop")).await;
    let whole = ours.anonymous().get(paths::legacy_download(&icon)).await;
    let refused = ours.anonymous().get(paths::legacy_download(&other)).await;

    assert_eq!(pictures::look(thumbnail.bytes()), ("jpeg", 96, 96));
    assert!(*whole.bytes() == pictures::jpeg(400, 300));
    assert_eq!(refused.error(), not_found());
}

#[tokio::test]
async fn what_arrives_during_a_freeze_is_not_shown_to_anybody_without_a_token() {
    let (ours, theirs, alice, bob) = pair("legacy.freeze = 'now'", "").await;
    theirs.is_at_one_node("a request that is handed on is counted by both nodes");
    let mxc = bob.create().await;
    let mut upload = bob.put(&mxc).feed(10).await;
    upload.send("01234").await;
    let reading = alice.get(paths::download(&mxc)).open().await;

    assert_eq!(ours.anonymous().get(paths::legacy_download(&mxc)).await.error(), not_found());

    upload.send("56789").await;
    upload.finish().await;
    assert_eq!(reading.whole().await, "0123456789");
    assert_eq!(theirs.requests("federation_download").await, 1);
}
