//! What only a store in a bucket does: what it asks of the server, and what it makes of its failures.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{collections::HashSet, fs};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use tintype_domain::{Clock as _, ContentHash, OsRandomness, SystemClock};
use tintype_services::{Proxy, SeaweedFs};
use tintype_storage::blobs::{Blobs, BlobsError, Bucket, BucketCredentials, Location};

use crate::blobs_in_objects::support::{bucket, bucket_of, open};

const MIB: usize = 1024 * 1024;

struct Store {
    folder: TempDir,
    proxy: Proxy,
    bucket: Bucket,
    blobs: Blobs,
}

/// A store behind a proxy.
async fn store() -> Store {
    let mut bucket = bucket();
    let proxy = Proxy::before(&bucket.endpoint).await.unwrap();
    bucket.endpoint = proxy.endpoint();
    let folder = TempDir::new().unwrap();
    let blobs = open(&bucket, folder.path()).into();
    Store { folder, proxy, bucket, blobs }
}

/// Bytes that differ everywhere, so that a part at the wrong place is noticed.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

async fn keep(blobs: &Blobs, bytes: &[u8]) -> Result<Location, BlobsError> {
    let mut incoming = blobs.receive().await?;
    for chunk in bytes.chunks(MIB) {
        incoming.write(Bytes::copy_from_slice(chunk)).await?;
    }
    blobs.publish(incoming.finish().await?).await
}

async fn read(blobs: &Blobs, location: &Location, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobsError> {
    let stream = blobs.read(location).await?.stream(range).await?;
    Ok(stream.try_collect::<Vec<_>>().await?.concat())
}

impl Store {
    fn files_in(&self, folder: &str) -> usize {
        fs::read_dir(self.folder.path().join(folder)).unwrap().count()
    }

    /// Removes what is left of uploads that failed.
    async fn nothing_is_pending(&self) {
        self.blobs.remove_unsent().await.unwrap();
        assert_eq!(self.files_in("pending"), 0);
    }
}

#[tokio::test]
async fn a_small_blob_takes_one_request_to_keep_and_one_to_read() {
    let store = store().await;
    let bytes = pattern(3 * MIB);

    let location = keep(&store.blobs, &bytes).await.unwrap();
    assert_eq!(store.proxy.take_requests(), ["PUT"]);

    assert!(read(&store.blobs, &location, 0..bytes.len() as u64).await.unwrap() == bytes);
    assert_eq!(store.proxy.take_requests(), ["GET"]);
    assert!(read(&store.blobs, &location, 5..100).await.unwrap() == bytes[5..100]);
    assert_eq!(store.proxy.take_requests(), ["GET"]);
    store.blobs.remove(&location).await.unwrap();
    assert_eq!(store.proxy.take_requests(), ["DELETE"]);
}

#[tokio::test]
async fn a_large_blob_is_sent_in_parts_and_its_length_is_asked_for() {
    let store = store().await;
    let bytes = pattern(20 * MIB + 3);

    let location = keep(&store.blobs, &bytes).await.unwrap();

    let requests = store.proxy.take_requests();
    assert_eq!(
        requests,
        ["POST?uploads", "PUT?partNumber", "PUT?partNumber", "PUT?partNumber", "POST?uploadId", "HEAD"]
    );
    assert_eq!(location.content_hash(), ContentHash::of(&bytes));
    assert!(read(&store.blobs, &location, 0..bytes.len() as u64).await.unwrap() == bytes);
    assert_eq!(store.proxy.take_requests(), ["GET"]);
}

#[tokio::test]
async fn a_blob_without_bytes_is_kept_and_read() {
    let store = store().await;

    let location = keep(&store.blobs, b"").await.unwrap();

    assert_eq!(read(&store.blobs, &location, 0..0).await.unwrap(), b"");
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_kept_and_everything_works_when_it_is_back() {
    let store = store().await;
    let before = keep(&store.blobs, b"before").await.unwrap();
    store.blobs.recorded(&before).await;
    store.proxy.go_away();

    let refused = keep(&store.blobs, b"meanwhile").await;
    assert!(matches!(refused, Err(BlobsError::Unavailable(_))), "{refused:?}");
    let refused = read(&store.blobs, &before, 0..6).await;
    assert!(matches!(refused, Err(BlobsError::Unavailable(_))), "{refused:?}");
    assert!(matches!(store.blobs.ready().await, Err(BlobsError::Unavailable(_))));
    assert!(matches!(store.blobs.remove(&before).await, Err(BlobsError::Unavailable(_))));
    assert_eq!(store.files_in("tmp"), 0);

    store.proxy.come_back();
    store.blobs.ready().await.unwrap();
    assert_eq!(read(&store.blobs, &before, 0..6).await.unwrap(), b"before");
    keep(&store.blobs, b"after").await.unwrap();
}

#[tokio::test]
async fn what_an_upload_left_that_failed_is_removed_when_the_store_is_back() {
    let store = store().await;
    store.proxy.go_away();
    keep(&store.blobs, b"bytes").await.unwrap_err();
    assert_eq!(store.files_in("pending"), 1);
    assert!(matches!(store.blobs.remove_unsent().await, Err(BlobsError::Unavailable(_))));

    store.proxy.come_back();

    store.nothing_is_pending().await;
}

#[tokio::test]
async fn an_upload_in_parts_that_was_never_completed_is_aborted() {
    let store = store().await;
    let bytes = pattern(40 * MIB);
    {
        let uploading = keep(&store.blobs, &bytes);
        let begun = async {
            while !store.proxy.take_requests().contains(&"POST?uploads".to_owned()) {
                tokio::task::yield_now().await;
            }
        };
        // Neither completed nor aborted: as of a node that is killed.
        tokio::select! {
            outcome = uploading => panic!("it was too fast: {outcome:?}"),
            () = begun => {}
        }
    }
    let now = SystemClock.now();
    let day = std::time::Duration::from_hours(24);

    assert_eq!(store.blobs.abort_unfinished(now - day).await.unwrap(), 0, "it may be under way");
    assert_eq!(store.blobs.abort_unfinished(now + day).await.unwrap(), 1);
    assert_eq!(store.blobs.abort_unfinished(now + day).await.unwrap(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_gone_on_with() {
    let store = store().await;
    let bytes = pattern(5 * MIB);
    let location = keep(&store.blobs, &bytes).await.unwrap();
    store.proxy.take_requests();
    store.proxy.cut_after(2 * MIB as u64);

    assert!(read(&store.blobs, &location, 0..bytes.len() as u64).await.unwrap() == bytes);

    assert_eq!(store.proxy.take_requests(), ["GET", "GET"]);
}

#[tokio::test]
async fn an_object_that_is_shorter_than_recorded_ends_in_an_error() {
    let store = store().await;
    let location = keep(&store.blobs, b"short").await.unwrap();

    let outcome = read(&store.blobs, &location, 0..100).await;

    assert!(matches!(outcome, Err(BlobsError::Truncated(_) | BlobsError::Store(_))), "{outcome:?}");
}

#[tokio::test]
async fn what_is_not_there_is_known_before_anything_is_read_and_a_missing_bucket_is_another_matter() {
    let mut store = store().await;
    let nowhere = Location::new(ContentHash::of(b"never"), &OsRandomness);
    assert!(matches!(read(&store.blobs, &nowhere, 0..5).await, Err(BlobsError::NotFound(_))));

    let folder = TempDir::new().unwrap();
    store.bucket.name = "there-is-no-such-bucket".to_owned();
    let elsewhere: Blobs = open(&store.bucket, folder.path()).into();

    let outcome = read(&elsewhere, &nowhere, 0..5).await;
    assert!(matches!(outcome, Err(BlobsError::Store(_))), "{outcome:?}");
    assert!(matches!(elsewhere.ready().await, Err(BlobsError::Store(_))));
}

#[tokio::test]
async fn a_wrong_key_is_no_store_that_is_away() {
    let mut store = store().await;
    let folder = TempDir::new().unwrap();
    store.bucket.credentials = BucketCredentials::Key { id: "nobody".to_owned(), secret: "guessed".to_owned() };
    let refused: Blobs = open(&store.bucket, folder.path()).into();

    assert!(matches!(refused.probe().await, Err(BlobsError::Store(_))));
    assert!(matches!(refused.ready().await, Err(BlobsError::Store(_))));
}

#[tokio::test]
async fn a_server_starts_without_its_store_and_removes_what_a_crash_left_when_it_is_there() {
    let mut store = store().await;
    let left = keep(&store.blobs, b"left").await.unwrap();
    drop(store.blobs);
    store.proxy.go_away();
    store.blobs = open(&store.bucket, store.folder.path()).into();

    let sweep = store.blobs.sweep(HashSet::new(), async |_| Ok::<_, BlobsError>(false)).await.unwrap();
    assert_eq!((sweep.unrecorded, store.files_in("pending")), (1, 1));

    store.proxy.come_back();
    store.nothing_is_pending().await;
    assert!(matches!(read(&store.blobs, &left, 0..4).await, Err(BlobsError::NotFound(_))));
}

#[tokio::test]
async fn a_blob_is_brought_here_for_a_thread_that_reads_it() {
    let store = store().await;
    let bytes = pattern(2 * MIB);
    let location = keep(&store.blobs, &bytes).await.unwrap();

    let local = store.blobs.read(&location).await.unwrap().local(bytes.len() as u64).await.unwrap();

    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut local.into_file().unwrap(), &mut read).unwrap();
    assert!(read == bytes);
    assert_eq!(store.files_in("tmp"), 0);
}

#[tokio::test]
async fn a_server_that_is_stopped_and_started_again_is_used_again() {
    let mut server = SeaweedFs::start();
    let folder = TempDir::new().unwrap();
    let blobs: Blobs = open(&bucket_of(&server), folder.path()).into();
    let before = keep(&blobs, b"before").await.unwrap();
    server.stop();
    assert!(matches!(keep(&blobs, b"meanwhile").await, Err(BlobsError::Unavailable(_))));

    server.start_again();

    assert_eq!(read(&blobs, &before, 0..6).await.unwrap(), b"before");
    keep(&blobs, b"after").await.unwrap();
}
