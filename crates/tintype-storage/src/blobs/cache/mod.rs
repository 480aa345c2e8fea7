//! Small blobs of a store that is far away, kept in memory and on this machine's disk.
//!
//! Whole blobs are kept, up to a size; what is larger is streamed and never comes here. Those who ask for one that is being
//! loaded wait for that. What has to be gone is gone when [`Cache::forget`] returns:
//!
//! * each blob is kept under a random number, and only [`Names`] knows which one. Who is forgotten there is found by nobody,
//!   also if it is only now being loaded;
//! * the disk is a log, in which nothing is overwritten when it is removed. So each blob is sealed there with a key of its
//!   own (`sealed`), which is in memory only. With the key the bytes are gone, and with the process all of them.
//!
//! Nothing on the disk is read by a later process: a cache begins empty.

mod names;
mod sealed;

use std::{
    fmt, fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Compression, DeviceBuilder as _, Event, EventListener, FsDeviceBuilder, HybridCache,
    HybridCacheBuilder, LfuConfig, PsyncIoEngineConfig, RecoverMode, Source,
};
use tintype_domain::Randomness;

use self::{
    names::{Name, Names},
    sealed::Cached,
};
use super::{BlobsError, Location};

/// What an entry costs in memory beside its bytes.
const OVERHEAD: usize = 512;

/// Blocks that the disk is divided into, as long as they are not too small or too large: the oldest is reused as a whole.
const BLOCKS: u64 = 32;

/// Parts of the memory, at most.
const MOST_SHARDS: usize = 16;

/// The largest block.
const LARGEST_BLOCK: u64 = 16 * 1024 * 1024;

/// What the names of its files begin with.
const FILES: &str = "foyer-";

/// How much is kept, and where.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Bytes in memory.
    pub memory: u64,
    /// The disk; none is used if it is not given.
    pub disk: Option<DiskCache>,
    /// The size of the largest blob that is kept, in bytes.
    pub max_blob: u64,
}

/// A folder for what is not in memory any more.
#[derive(Debug, Clone)]
pub struct DiskCache {
    /// Where. It is this process's alone.
    pub folder: PathBuf,
    /// Bytes that it takes.
    pub size: u64,
}

impl DiskCache {
    /// The least size of one that holds blobs of this size, in bytes.
    pub fn least_size(max_blob: u64) -> u64 {
        BLOCKS * (max_blob + 64 * 1024)
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Blobs that were in memory.
    pub memory_hits: u64,
    /// Blobs that were on the disk.
    pub disk_hits: u64,
    /// Blobs that had to be loaded.
    pub misses: u64,
    /// Bytes of the blobs that did not have to be.
    pub hit_bytes: u64,
    /// Blobs that left the memory to make room.
    pub evictions: u64,
    /// Bytes in memory, at the moment.
    pub memory_bytes: u64,
}

/// Blobs that are kept near. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    entries: HybridCache<Name, Cached>,
    names: Names,
    max_blob: u64,
    counted: Arc<Counted>,
}

#[derive(Default)]
struct Counted {
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    misses: AtomicU64,
    hit_bytes: AtomicU64,
    evictions: AtomicU64,
}

impl EventListener for Counted {
    type Key = Name;
    type Value = Cached;

    fn on_leave(&self, reason: Event, _: &Name, _: &Cached) {
        if matches!(reason, Event::Evict) {
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Cache {
    /// An empty cache, whose work is done on the runtime that this is called on.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the folder cannot be used.
    pub async fn open(settings: CacheSettings, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        let counted = Arc::new(Counted::default());
        let builder = HybridCacheBuilder::new()
            .with_name("tintype")
            .with_flush_on_close(false)
            .with_event_listener(Arc::clone(&counted) as Arc<dyn EventListener<Key = Name, Value = Cached>>)
            .memory(usize::try_from(settings.memory).unwrap_or(usize::MAX))
            // Each part has room for several of the largest.
            .with_shards(shards(&settings))
            // What is asked for once does not take the place of what is asked for again and again.
            .with_eviction_config(LfuConfig::default())
            .with_weighter(|_: &Name, blob: &Cached| blob.len() + OVERHEAD)
            .storage();
        let builder = match settings.disk {
            None => builder,
            Some(DiskCache { folder, size }) => {
                empty(&folder)?;
                let block = (size / BLOCKS).min(LARGEST_BLOCK);
                let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
                let device = FsDeviceBuilder::new(&folder).with_capacity(length(size)).build().map_err(failed)?;
                let engine = BlockEngineConfig::new(device).with_block_size(length(block));
                builder
                    .with_io_engine_config(PsyncIoEngineConfig::new())
                    .with_engine_config(engine)
                    .with_recover_mode(RecoverMode::None)
                    .with_compression(Compression::None)
            }
        };
        let entries = builder.build().await.map_err(failed)?;
        Ok(Self(Arc::new(Inner { entries, names: Names::new(randomness), max_blob: settings.max_blob, counted })))
    }

    /// Whether a blob of this size is kept.
    pub(super) fn takes(&self, size: u64) -> bool {
        size <= self.0.max_blob
    }

    /// The blob, which is loaded if it is not here; nothing if that fails.
    pub(super) async fn get(
        &self,
        location: &Location,
        load: impl Future<Output = Result<Bytes, BlobsError>> + Send + 'static,
    ) -> Option<Bytes> {
        let inner = &self.0;
        let (name, key) = inner.names.of(location, |name| inner.entries.contains(name));
        let sealer = Arc::clone(&key);
        let load = async move { load.await.map(|bytes| Cached::new(bytes, sealer)) };
        // What went wrong is found out again by whoever reads without the cache.
        let found = inner.entries.get_or_fetch(&name, || load).await.ok()?;
        if !inner.names.is(location, name) {
            // It was forgotten while it was loaded.
            inner.entries.remove(&name);
        }
        let Some(bytes) = found.value().bytes(&key) else {
            tracing::warn!(location = location.as_str(), "a blob in the cache is damaged; it is loaded again");
            self.forget(location);
            return None;
        };
        let counted = &inner.counted;
        match found.source() {
            Source::Outer => &counted.misses,
            Source::Memory => &counted.memory_hits,
            Source::Disk => &counted.disk_hits,
        }
        .fetch_add(1, Ordering::Relaxed);
        if !matches!(found.source(), Source::Outer) {
            counted.hit_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Some(bytes)
    }

    /// Forgets a blob: it is in memory no more, and what is left of it on the disk cannot be read by anybody.
    pub fn forget(&self, location: &Location) {
        if let Some(name) = self.0.names.forget(location) {
            self.0.entries.remove(&name);
        }
    }

    /// Forgets all.
    pub fn forget_all(&self) {
        for name in self.0.names.forget_all() {
            self.0.entries.remove(&name);
        }
    }

    /// What was counted.
    pub fn counts(&self) -> CacheCounts {
        let counted = &self.0.counted;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            memory_hits: read(&counted.memory_hits),
            disk_hits: read(&counted.disk_hits),
            misses: read(&counted.misses),
            hit_bytes: read(&counted.hit_bytes),
            evictions: read(&counted.evictions),
            memory_bytes: self.0.entries.memory().usage() as u64,
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("max_blob", &self.0.max_blob).finish_non_exhaustive()
    }
}

/// Into how many parts with a lock of its own the memory is divided.
fn shards(settings: &CacheSettings) -> usize {
    let parts = settings.memory / (8 * settings.max_blob).max(1);
    usize::try_from(parts).unwrap_or(MOST_SHARDS).clamp(1, MOST_SHARDS)
}

/// Removes the files of a process before this one, and leaves whatever else is there.
fn empty(folder: &PathBuf) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(FILES) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn failed(error: foyer::Error) -> BlobsError {
    BlobsError::Io(io::Error::other(error))
}
