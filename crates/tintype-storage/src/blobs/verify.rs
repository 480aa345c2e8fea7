//! Whether a blob is what was stored: all of it is read, and its SHA-256 compared.
//!
//! It is read slowly, and leaves no trace in caches: of a file what was not in the page cache before is not there
//! afterwards, and of a bucket nothing is kept here.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    sync::Mutex,
    time::Duration,
};

use futures_util::StreamExt as _;
use rustix::{
    fs::{Advice, fadvise},
    io::{ReadWriteFlags, preadv2},
};
use tintype_domain::ContentHasher;
use tokio::time::{Instant, sleep_until};

use super::{Blobs, BlobsError, Files, Location, Objects, incoming::run_blocking};

/// Bytes of a file that are read together.
const PIECE: usize = 1024 * 1024;

/// What a blob counts for at least: a disk finds only so many in a second, however short they are.
const LEAST: u64 = 256 * 1024;

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are what was stored.
    Sound,
    /// They are others.
    Damaged,
    /// There are none.
    Missing,
}

/// How fast it is read.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    /// When the next bytes may be read.
    next: Mutex<Instant>,
}

impl Pace {
    /// So many bytes in a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits until these bytes may have been read.
    async fn take(&self, bytes: u64) {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let until = {
            let mut next = self.next.lock().expect("nobody panics with it");
            // What was not read while nobody wanted to is not made up for.
            *next = (*next).max(Instant::now()) + takes;
            *next
        };
        sleep_until(until).await;
    }
}

impl Blobs {
    /// Reads a blob of `size` bytes, no faster than this, and says whether it is what was stored.
    ///
    /// # Errors
    /// [`BlobsError`] if nothing can be said of it: the store is away.
    pub async fn verify(&self, location: &Location, size: u64, pace: &Pace) -> Result<Verdict, BlobsError> {
        let verdict = match self {
            Self::Files(files) => files.verify(location, size, pace).await?,
            Self::Objects(objects) => objects.verify(location, size, pace).await?,
            Self::Moving(moving) => {
                let mut verdict = Verdict::Missing;
                for store in [moving.new_store(), moving.old_store(), moving.new_store()] {
                    verdict = Box::pin(store.verify(location, size, pace)).await?;
                    if verdict != Verdict::Missing {
                        break;
                    }
                }
                return Ok(verdict);
            }
        };
        pace.take(LEAST.saturating_sub(size)).await;
        Ok(verdict)
    }
}

impl Files {
    async fn verify(&self, location: &Location, size: u64, pace: &Pace) -> Result<Verdict, BlobsError> {
        let path = self.path(location);
        let opened = run_blocking(move || match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let file = file?;
                // Nothing beyond what is asked for is read ahead.
                let _ = fadvise(&file, 0, None, Advice::Random);
                file.metadata().map(|metadata| Some((file, metadata.len())))
            }
        });
        let Some((mut file, length)) = opened.await? else { return Ok(Verdict::Missing) };
        if length != size {
            return Ok(Verdict::Damaged);
        }
        let (mut hasher, mut at) = (ContentHasher::default(), 0);
        while at < size {
            let piece = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let read = run_blocking(move || {
                let mut bytes = vec![0; piece];
                let outcome = read_without_trace(&file, &mut bytes, at);
                Ok((file, bytes, outcome))
            });
            let (same, bytes, outcome) = read.await?;
            match outcome {
                Ok(()) => hasher.update(&bytes),
                // The disk says so itself, or the file has lost its end since.
                Err(error) if is_damage(&error) => return Ok(Verdict::Damaged),
                Err(error) => return Err(error.into()),
            }
            file = same;
            at += piece as u64;
            pace.take(piece as u64).await;
        }
        Ok(if hasher.finish() == location.content_hash() { Verdict::Sound } else { Verdict::Damaged })
    }
}

impl Objects {
    async fn verify(&self, location: &Location, size: u64, pace: &Pace) -> Result<Verdict, BlobsError> {
        match self.hash_of(location, size, pace).await {
            Ok(is_same) => Ok(if is_same { Verdict::Sound } else { Verdict::Damaged }),
            Err(BlobsError::NotFound(_)) => Ok(Verdict::Missing),
            Err(BlobsError::Truncated(_)) => Ok(Verdict::Damaged),
            // Of an object that is too short stores say different things.
            Err(error) => match self.has(location, size).await {
                Ok(false) => Ok(Verdict::Damaged),
                Ok(true) | Err(_) => Err(error),
            },
        }
    }

    async fn hash_of(&self, location: &Location, size: u64, pace: &Pace) -> Result<bool, BlobsError> {
        let mut bytes = self.object(location).begin(0..size).await?;
        let mut hasher = ContentHasher::default();
        while let Some(piece) = bytes.next().await {
            let piece = piece?;
            hasher.update(&piece);
            pace.take(piece.len() as u64).await;
        }
        Ok(hasher.finish() == location.content_hash())
    }
}

fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(libc::EIO)
}

/// Fills the buffer; the page cache has afterwards what it had before.
fn read_without_trace(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    let mut slices = [IoSliceMut::new(bytes)];
    let cached = preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).unwrap_or(0);
    if cached == bytes.len() {
        return Ok(());
    }
    let rest = at + cached as u64;
    let outcome = file.read_exact_at(&mut bytes[cached..], rest);
    let _ = fadvise(file, rest, std::num::NonZeroU64::new((bytes.len() - cached) as u64), Advice::DontNeed);
    outcome
}
