//! What is kept near of a bucket: what the server is not asked for, and what is gone when it has to be.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::join_all};
use tempfile::TempDir;
use tintype_domain::OsRandomness;
use tintype_services::Proxy;
use tintype_storage::blobs::{Blobs, BlobsError, Cache, CacheCounts, CacheSettings, DiskCache, Location};
use tokio::time::{sleep, timeout};

use crate::blobs_in_objects::support::{bucket, open};

const KIB: usize = 1024;

/// The largest blob that is kept.
const MOST: usize = 64 * KIB;

/// The disk, for what is far more than the memory.
const DISK: u64 = 8 * 1024 * 1024;

/// How long something may take that has to happen: waited for only by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

struct Store {
    folder: TempDir,
    proxy: Proxy,
    blobs: Blobs,
}

async fn store(memory: usize, disk: Option<u64>) -> Store {
    let mut bucket = bucket();
    let proxy = Proxy::before(&bucket.endpoint).await.unwrap();
    bucket.endpoint = proxy.endpoint();
    let folder = TempDir::new().unwrap();
    let disk = disk.map(|size| DiskCache { folder: folder.path().join("cache"), size });
    let settings = CacheSettings { memory: memory as u64, disk, max_blob: MOST as u64 };
    let cache = Cache::open(settings, Arc::new(OsRandomness)).await.unwrap();
    let blobs = open(&bucket, &folder.path().join("scratch")).cached(cache).into();
    Store { folder, proxy, blobs }
}

impl Store {
    async fn keep(&self, bytes: &[u8]) -> Location {
        let mut incoming = self.blobs.receive().await.unwrap();
        incoming.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        let location = self.blobs.publish(incoming.finish().await.unwrap()).await.unwrap();
        self.proxy.take_requests();
        location
    }

    async fn read(&self, location: &Location, size: usize, range: std::ops::Range<u64>) -> Result<Bytes, BlobsError> {
        let stream = self.blobs.read_lasting(location, size as u64).await?.stream(range).await?;
        Ok(stream.try_collect::<Vec<_>>().await?.concat().into())
    }

    async fn whole(&self, location: &Location, size: usize) -> Bytes {
        self.read(location, size, 0..size as u64).await.unwrap()
    }

    fn counts(&self) -> CacheCounts {
        self.blobs.cache_counts().unwrap()
    }
}

/// Bytes that no other blob has.
fn bytes(seed: usize, length: usize) -> Vec<u8> {
    format!("a secret of blob {seed}; ").into_bytes().into_iter().cycle().take(length).collect()
}

/// Whether the text is in any file of the folder.
fn is_on_disk(folder: &Path, text: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text)
    })
}

#[tokio::test]
async fn a_small_blob_is_asked_for_once_whole_or_in_parts() {
    let store = store(1024 * KIB, None).await;
    let bytes = bytes(0, 10_000);
    let location = store.keep(&bytes).await;

    assert_eq!(store.read(&location, bytes.len(), 10..20).await.unwrap(), bytes[10..20]);
    assert_eq!(store.whole(&location, bytes.len()).await, bytes);
    assert_eq!(store.read(&location, bytes.len(), 9_000..10_000).await.unwrap(), bytes[9_000..]);
    let later = store.blobs.read_lasting(&location, 10_000).await.unwrap().stream_later(0..5);
    assert_eq!(later.try_collect::<Vec<_>>().await.unwrap().concat(), bytes[..5]);

    assert_eq!(store.proxy.take_requests(), ["GET"]);
    let counts = store.counts();
    assert_eq!((counts.misses, counts.memory_hits, counts.hit_bytes), (1, 3, 30_000));
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_one_request() {
    let store = store(1024 * KIB, None).await;
    let bytes = bytes(0, 50_000);
    let location = store.keep(&bytes).await;

    let all = join_all((0..20).map(|_| store.whole(&location, bytes.len()))).await;

    assert!(all.into_iter().all(|read| read == bytes));
    assert_eq!(store.proxy.take_requests(), ["GET"]);
}

#[tokio::test]
async fn what_is_large_or_may_be_taken_away_is_asked_for_each_time() {
    let store = store(1024 * KIB, None).await;
    let large = store.keep(&bytes(0, MOST + 1)).await;
    let small = store.keep(&bytes(1, 1000)).await;

    for _ in 0..2 {
        assert_eq!(store.read(&large, MOST + 1, 3..8).await.unwrap(), bytes(0, MOST + 1)[3..8]);
        let stream = store.blobs.read(&small).await.unwrap().stream(0..1000).await.unwrap();
        assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap().concat(), bytes(1, 1000));
    }

    assert_eq!(store.proxy.take_requests(), ["GET"; 4]);
    assert_eq!(store.counts(), CacheCounts::default());
}

#[tokio::test]
async fn a_blob_that_is_removed_or_forgotten_is_not_kept_any_more() {
    let store = store(1024 * KIB, None).await;
    let (removed, forgotten) = (store.keep(&bytes(0, 1000)).await, store.keep(&bytes(1, 1000)).await);
    let other = store.keep(&bytes(2, 1000)).await;
    for location in [&removed, &forgotten, &other] {
        store.read(location, 1000, 0..1000).await.unwrap();
    }
    store.proxy.take_requests();

    store.blobs.remove(&removed).await.unwrap();
    store.blobs.forget(&forgotten);

    let gone = store.read(&removed, 1000, 0..1000).await;
    assert!(matches!(gone, Err(BlobsError::NotFound(_))), "{gone:?}");
    store.proxy.take_requests();
    assert_eq!(store.whole(&forgotten, 1000).await, bytes(1, 1000));
    assert_eq!(store.proxy.take_requests(), ["GET"]);
    assert_eq!(store.whole(&other, 1000).await, bytes(2, 1000));
    assert_eq!(store.proxy.take_requests(), Vec::<String>::new());
    store.blobs.forget_all();
    assert_eq!(store.counts().memory_bytes, 0);
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_read_from_the_disk_and_cannot_be_read_there_by_others() {
    let store = store(4 * MOST, Some(DISK)).await;
    let cache = store.folder.path().join("cache");
    let mut blobs = Vec::new();
    for seed in 0..20 {
        let location = store.keep(&bytes(seed, MOST)).await;
        assert_eq!(store.whole(&location, MOST).await, bytes(seed, MOST));
        blobs.push((seed, location));
    }
    store.proxy.take_requests();

    // They are written in the background.
    let from_disk = async {
        while store.counts().disk_hits < 3 {
            for (seed, location) in &blobs {
                assert_eq!(store.whole(location, MOST).await, bytes(*seed, MOST));
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, from_disk).await.unwrap();
    assert!(store.counts().evictions > 0);
    assert!(store.counts().memory_bytes <= 4 * MOST as u64);

    assert!(fs::read_dir(&cache).unwrap().count() > 0);
    assert!(!is_on_disk(&cache, b"a secret of blob"));
    assert!(!is_on_disk(&cache, blobs[0].1.content_hash().as_bytes()));
    // What is removed is gone from there as well.
    for (_, location) in &blobs {
        store.blobs.remove(location).await.unwrap();
        assert!(matches!(store.read(location, MOST, 0..10).await, Err(BlobsError::NotFound(_))));
    }
    assert_eq!(store.counts().memory_bytes, 0);
}

#[tokio::test]
async fn while_the_store_is_away_what_is_kept_is_given_and_nothing_else() {
    let store = store(1024 * KIB, None).await;
    let (near, far) = (store.keep(&bytes(0, 1000)).await, store.keep(&bytes(1, 1000)).await);
    store.whole(&near, 1000).await;
    store.proxy.go_away();

    assert_eq!(store.whole(&near, 1000).await, bytes(0, 1000));
    let refused = store.read(&far, 1000, 0..1000).await;
    assert!(matches!(refused, Err(BlobsError::Unavailable(_))), "{refused:?}");

    store.proxy.come_back();
    assert_eq!(store.whole(&far, 1000).await, bytes(1, 1000));
}
