//! Bytes in a bucket: as in a folder, but for what happens when the store is away.

use std::path::PathBuf;

use tintype_services::{Bucket, Proxy, SeaweedFs};
use tintype_testing::{Profile, TestServer, paths, pattern, pictures::png};

fn config(bucket: &Bucket) -> String {
    let Bucket { endpoint, name, access_key_id, secret_access_key, .. } = bucket;
    format!(
        "cache.memory = 0
         [blobs]
         url = 's3://{name}/media'
         endpoint = '{endpoint}'
         access_key_id = '{access_key_id}'
         secret_access_key = '{secret_access_key}'
         path_style = true
         inline_size = 0
         "
    )
}

#[tokio::test]
async fn media_is_served_from_a_bucket_whole_in_parts_and_as_a_thumbnail() {
    let server = TestServer::made_of(Profile::Embedded, &config(&SeaweedFs::shared().bucket())).await;
    let alice = server.user("alice").await;
    let body = pattern(300_000);

    let mxc = alice.upload(body.clone()).await;

    let whole = alice.get(paths::download(&mxc)).await;
    assert!(whole.bytes() == &body);
    let part = alice.get(paths::download(&mxc)).header("range", "bytes=100000-200000").await;
    assert_eq!(part.status(), 206);
    assert!(part.bytes() == &body[100_000..=200_000]);
    let parts = alice.get(paths::download(&mxc)).header("range", "bytes=0-9,20-29").await;
    assert_eq!(parts.status(), 206);
    assert!(parts.bytes().windows(10).any(|window| window == &body[20..30]));
    let head = alice.head(paths::download(&mxc)).await;
    assert_eq!((head.status(), head.content_length()), (200, body.len()));
    let picture = alice.upload(png(640, 480)).await;
    // Made, and then kept.
    for _ in 0..2 {
        let thumbnail = alice.get(paths::thumbnail(&picture, "width=32&height=32")).await;
        assert_eq!((thumbnail.status(), thumbnail.header("content-type")), (200, "image/png"));
    }
    // Nothing of it is on this machine's disk.
    assert_eq!(server.blobs(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn while_the_store_is_away_clients_are_told_to_come_again_and_then_everything_works() {
    let mut store = SeaweedFs::start();
    let server = TestServer::made_of(Profile::Embedded, &config(&store.bucket())).await;
    let alice = server.user("alice").await;
    let before = alice.upload("before").await;
    let promised = alice.post(paths::CREATE).await.mxc();
    store.stop();

    for refused in [
        alice.post(paths::UPLOAD).body("meanwhile").await,
        alice.put(&promised).body("meanwhile").await,
        alice.get(paths::download(&before)).await,
    ] {
        assert_eq!(refused.error(), (503, "M_UNKNOWN".to_owned()));
        assert_eq!(refused.header("retry-after"), "5");
    }
    assert_eq!(server.telemetry().get("/ready").await.status(), 503);
    assert_eq!(server.telemetry().get("/health").await.status(), 200);

    store.start_again();
    assert_eq!(server.telemetry().get("/ready").await.status(), 200);
    assert_eq!(alice.get(paths::download(&before)).await.bytes(), "before");
    assert_eq!(alice.put(&promised).body("after").await.status(), 200);
    assert_eq!(alice.get(paths::download(&promised)).await.bytes(), "after");
}

/// A server whose requests to the store are counted.
async fn counted(more: &str) -> (TestServer, Proxy) {
    let mut bucket = SeaweedFs::shared().bucket();
    let proxy = Proxy::before(&bucket.endpoint).await.expect("a proxy");
    bucket.endpoint = proxy.endpoint();
    let config = config(&bucket).replace("cache.memory = 0", "");
    (TestServer::made_of(Profile::Embedded, &format!("{config}{more}")).await, proxy)
}

#[tokio::test]
async fn what_was_asked_for_before_costs_no_request_to_the_store() {
    let (server, proxy) = counted("").await;
    let alice = server.user("alice").await;
    let body = pattern(300_000);
    let mxc = alice.upload(body.clone()).await;
    assert_eq!(proxy.take_requests(), ["PUT"]);

    let first = alice.get(paths::download(&mxc)).await;
    assert_eq!(proxy.take_requests(), ["GET"]);
    let second = server.user("bob").await.get(paths::download(&mxc)).await;
    let part = alice.get(paths::download(&mxc)).header("range", "bytes=100000-200000").await;
    let parts = alice.get(paths::download(&mxc)).header("range", "bytes=0-9,20-29").await;

    assert_eq!(proxy.take_requests(), Vec::<String>::new());
    assert!(first.bytes() == &body && second.bytes() == &body);
    assert_eq!(second.content_length(), body.len());
    assert!(part.bytes() == &body[100_000..=200_000]);
    assert!(parts.bytes().windows(10).any(|window| window == &body[20..30]));
    assert_eq!(server.metric("tintype_blob_cache_requests_total{found=\"memory\"}").await, 4);
    assert_eq!(server.metric("tintype_blob_cache_requests_total{found=\"store\"}").await, 1);
}

#[tokio::test]
async fn what_can_be_taken_away_or_is_large_is_asked_of_the_store_each_time() {
    let (server, proxy) = counted("cache.max_object = '100KiB'\ncache.disk = '64MiB'").await;
    let alice = server.user("alice").await;
    let ephemeral = format!("{}?org.matrix.msc4425.ephemeral=true", paths::UPLOAD);
    let restricted = "/_matrix/client/unstable/org.matrix.msc3911/media/upload";
    let media = [
        alice.post(ephemeral).body(pattern(1_000)).await.mxc(),
        alice.post(restricted).body(pattern(2_000)).await.mxc(),
        alice.upload(pattern(200_000)).await,
    ];
    proxy.take_requests();

    for mxc in &media {
        for _ in 0..2 {
            assert_eq!(alice.get(paths::download(mxc)).await.status(), 200);
        }
        assert_eq!(proxy.take_requests(), ["GET", "GET"]);
    }
}
