//! What is kept of other servers' media, and for how long.

use std::time::Duration;

use tintype_testing::{TestServer, embedded_only, paths, pattern, pictures, until};

use super::pair;

const LENGTH: usize = 400_000;

/// Lets the clock of the server run until so many responses were evicted in all.
async fn evicts(server: &TestServer, responses: u64) {
    until("it is evicted", async || {
        server.advance(Duration::from_mins(1));
        server.metric("tintype_remote_cache_evicted_total").await >= responses
    })
    .await;
    assert_eq!(server.metric("tintype_remote_cache_evicted_total").await, responses);
}

/// Lets the clock run until the files are gone.
async fn has_blobs(server: &TestServer, files: usize) {
    until("files are removed", async || {
        server.advance(Duration::from_secs(1));
        server.blobs().len() == files
    })
    .await;
}

#[tokio::test]
async fn what_was_not_asked_for_long_enough_goes_and_is_fetched_again() {
    embedded_only!("the minutes of use and of the sweep pass at several nodes, in no order");
    let (ours, theirs, alice, bob) = pair("remote_cache.max_age = '10d'", "").await;
    let (used, unused) = (bob.upload(pattern(LENGTH)).await, bob.upload(pattern(LENGTH + 1)).await);
    for mxc in [&used, &unused] {
        alice.get(paths::download(mxc)).await;
    }
    assert_eq!(ours.blobs().len(), 2);

    ours.advance(Duration::from_hours(6 * 24));
    assert_eq!(alice.get(paths::download(&used)).await.status(), 200);
    ours.advance(Duration::from_hours(5 * 24));
    evicts(&ours, 1).await;
    has_blobs(&ours, 1).await;

    assert_eq!(ours.metric("tintype_remote_cache_bytes").await, LENGTH as u64);
    assert!(*alice.get(paths::download(&used)).await.bytes() == pattern(LENGTH));
    assert_eq!(theirs.requests("federation_download").await, 2);
    assert!(*alice.get(paths::download(&unused)).await.bytes() == pattern(LENGTH + 1));
    assert_eq!(theirs.requests("federation_download").await, 3);
    assert_eq!(ours.blobs().len(), 2);
}

#[tokio::test]
async fn of_what_is_too_much_the_longest_unused_goes_first() {
    embedded_only!("the minutes of use and of the sweep pass at several nodes, in no order");
    let (ours, theirs, alice, bob) = pair("remote_cache.max_size = '1MiB'", "").await;
    let mut uploaded = Vec::new();
    for more in 0..3 {
        let mxc = bob.upload(pattern(LENGTH + more)).await;
        alice.get(paths::download(&mxc)).await;
        ours.advance(Duration::from_secs(1));
        uploaded.push(mxc);
    }
    assert_eq!(ours.blobs().len(), 3);
    alice.head(paths::download(&uploaded[0])).await;

    evicts(&ours, 1).await;
    has_blobs(&ours, 2).await;

    for (mxc, asked) in [(&uploaded[0], 3), (&uploaded[2], 3), (&uploaded[1], 4)] {
        assert_eq!(alice.get(paths::download(mxc)).await.status(), 200);
        assert_eq!(theirs.requests("federation_download").await, asked);
    }
}

#[tokio::test]
async fn small_media_is_evicted_like_large() {
    let (ours, theirs, alice, bob) = pair("remote_cache.max_age = '1d'", "").await;
    let mxc = bob.upload("small").await;
    alice.get(paths::download(&mxc)).await;

    ours.advance(Duration::from_hours(25));
    evicts(&ours, 1).await;

    assert_eq!(ours.metric("tintype_remote_cache_bytes").await, 0);
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "small");
    assert_eq!(theirs.requests("federation_download").await, 2);
}

#[tokio::test]
async fn a_limit_of_never_keeps_everything() {
    let (ours, _theirs, alice, bob) = pair("remote_cache = { max_age = 'never', max_size = 'never' }", "").await;
    let mxc = bob.upload(pattern(LENGTH)).await;
    alice.get(paths::download(&mxc)).await;

    ours.advance(Duration::from_hours(10 * 365 * 24));
    until("it was counted", async || {
        ours.advance(Duration::from_mins(1));
        ours.metric("tintype_remote_cache_bytes").await == LENGTH as u64
    })
    .await;

    assert_eq!(ours.blobs().len(), 1);
    assert_eq!(ours.metric("tintype_remote_cache_evicted_total").await, 0);
}

#[tokio::test]
async fn who_reads_what_is_evicted_gets_all_of_it() {
    let length = 40 * 1024 * 1024;
    let (ours, _theirs, alice, bob) = pair("remote_cache.max_age = '1d'", "").await;
    let (mxc, bytes) = (bob.upload(pattern(length)).await, pattern(length));
    assert_eq!(alice.get(paths::download(&mxc)).await.content_length(), length);
    let mut reading = alice.get(paths::download(&mxc)).open().await;
    assert!(reading.bytes(1000).await == bytes[..1000]);

    ours.advance(Duration::from_hours(25));
    evicts(&ours, 1).await;
    has_blobs(&ours, 0).await;

    assert!(reading.whole().await == bytes[1000..]);
}

#[tokio::test]
async fn what_still_arrives_is_not_evicted() {
    let (ours, _theirs, alice, bob) = pair("remote_cache = { max_age = '1d', max_size = '1KiB' }", "").await;
    let (mxc, bytes) = (bob.create().await, pattern(LENGTH));
    let mut upload = bob.put(&mxc).feed(LENGTH).await;
    upload.send(&bytes[..1000]).await;
    let reading = alice.get(paths::download(&mxc)).open().await;
    // This one shows when the cache was swept.
    let other = bob.upload(pattern(2000)).await;
    alice.get(paths::download(&other)).await;

    evicts(&ours, 1).await;
    upload.send(&bytes[1000..]).await;
    upload.finish().await;

    assert!(reading.whole().await == bytes);
    evicts(&ours, 2).await;
    has_blobs(&ours, 0).await;
}

#[tokio::test]
async fn the_same_bytes_from_here_and_from_elsewhere_are_one_file_and_ours_stays() {
    for ours_comes_first in [true, false] {
        let (ours, _theirs, alice, bob) = pair("remote_cache.max_age = '1d'", "").await;
        let (bytes, remote) = (pattern(LENGTH), bob.upload(pattern(LENGTH)).await);
        if !ours_comes_first {
            alice.get(paths::download(&remote)).await;
        }
        let local = alice.upload(bytes.clone()).content_type("text/x-ours").await;
        assert!(*alice.get(paths::download(&remote)).await.bytes() == bytes);
        assert_eq!(ours.blobs().len(), 1);

        ours.advance(Duration::from_hours(25));
        evicts(&ours, 1).await;
        let ours = ours.restart().await;

        assert_eq!(ours.blobs().len(), 1);
        let answer = alice.get(paths::download(&local)).await;
        assert_eq!(answer.header("content-type"), "text/x-ours");
        assert!(*answer.bytes() == bytes);
        assert!(*alice.get(paths::download(&remote)).await.bytes() == bytes);
    }
}

#[tokio::test]
async fn the_same_bytes_of_two_servers_are_one_file_until_the_last_goes() {
    let (ours, _theirs, alice, bob) = pair("remote_cache.max_age = '2d'", "").await;
    let (one, two) = (bob.upload(pattern(LENGTH)).await, bob.upload(pattern(LENGTH)).await);
    alice.get(paths::download(&one)).await;
    ours.advance(Duration::from_hours(24));
    alice.get(paths::download(&two)).await;
    assert_eq!(ours.blobs().len(), 1);

    ours.advance(Duration::from_hours(25));
    evicts(&ours, 1).await;
    assert_eq!(ours.blobs().len(), 1);
    assert!(*alice.get(paths::download(&two)).await.bytes() == pattern(LENGTH));

    ours.advance(Duration::from_hours(49));
    evicts(&ours, 2).await;
    has_blobs(&ours, 0).await;
}

#[tokio::test]
async fn thumbnails_go_like_the_media() {
    for config in ["", "federation.remote_thumbnails = 'local'"] {
        let config = format!("remote_cache.max_age = '1d'\nblobs.inline_size = 0\n{config}");
        let (ours, theirs, alice, bob) = pair(&config, "").await;
        let mxc = bob.upload(pictures::jpeg(800, 600)).content_type("image/jpeg").await;
        let path = paths::thumbnail(&mxc, "width=96&height=96&method=crop");
        let before = alice.get(path.as_str()).await;
        alice.get(paths::download(&mxc)).await;
        assert_eq!(ours.blobs().len(), 2, "the picture and its thumbnail");

        ours.advance(Duration::from_hours(25));
        evicts(&ours, 2).await;
        has_blobs(&ours, 0).await;

        let asked = theirs.requests("federation_thumbnail").await + theirs.requests("federation_download").await;
        assert_eq!(alice.get(path.as_str()).await.bytes(), before.bytes());
        let again = theirs.requests("federation_thumbnail").await + theirs.requests("federation_download").await;
        assert_eq!(again, asked + 1);
    }
}

#[tokio::test]
async fn what_expires_while_the_server_is_down_goes_when_it_is_up_again() {
    let (ours, _theirs, alice, bob) = pair("remote_cache.max_age = '1d'", "").await;
    let mxc = bob.upload(pattern(LENGTH)).await;
    alice.get(paths::download(&mxc)).await;

    ours.advance(Duration::from_hours(1));
    let ours = ours.restart().await;
    ours.advance(Duration::from_hours(24));
    evicts(&ours, 1).await;

    has_blobs(&ours, 0).await;
}

#[tokio::test]
async fn what_was_used_before_a_stop_counts_as_used_after_it() {
    let (ours, theirs, alice, bob) = pair("remote_cache.max_age = '10d'", "").await;
    let (used, unused) = (bob.upload(pattern(LENGTH)).await, bob.upload(pattern(LENGTH + 1)).await);
    for mxc in [&used, &unused] {
        alice.get(paths::download(mxc)).await;
    }
    // The clock moves without a sweep that would write down what was used since.
    let ours = ours.restart().await;
    ours.advance(Duration::from_hours(9 * 24));
    until("it was swept", async || ours.metric("tintype_remote_cache_bytes").await > 0).await;
    alice.get(paths::download(&used)).await;

    let ours = ours.restart().await;
    ours.advance(Duration::from_hours(2 * 24));
    evicts(&ours, 1).await;

    assert!(*alice.get(paths::download(&used)).await.bytes() == pattern(LENGTH));
    assert_eq!(theirs.requests("federation_download").await, 2);
}
