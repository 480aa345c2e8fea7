//! A blob that is arriving: hashed and written as it comes, without ever being collected in memory.
//!
//! Bytes are gathered into blocks; each block is hashed and written on a blocking thread while the next one is being
//! received. Every few megabytes the kernel is told to start writing back, so that the sync at the end finds little left
//! to do. While somebody reads the blob as it grows (see [`Growing`]), what was gathered is written before a block is
//! full. Dropping an [`Incoming`] removes its file, whatever state it was in, unless the file was begun to be kept.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tintype_domain::{ContentHash, ContentHasher};
use tokio::{runtime::Handle, task::JoinHandle};

use super::{BlobsError, Growing};

/// Bytes hashed and written together. Two blocks at most exist at once for one upload: one being written, one being
/// filled.
const BLOCK: usize = 256 * 1024;

/// Bytes after which the kernel is told to start writing.
const WRITE_BACK: u64 = 8 * 1024 * 1024;

/// The least time between two writes of less than a block: bounds how often readers are woken, and how long a byte
/// waits for them.
const PACE: Duration = Duration::from_millis(5);

/// How long the file of a partial blob is waited for: a block of an earlier request may still be on its way to the disk.
const LOCKED_AT_MOST: Duration = Duration::from_secs(5);

/// A blob being received.
#[derive(Debug)]
pub struct Incoming {
    state: State,
    /// Where its blocks are written.
    runtime: Option<Handle>,
    block: Vec<u8>,
    /// A block that was written, to be filled again.
    spare: Vec<u8>,
    /// When a write last began.
    last_write: Option<Instant>,
    /// Bytes taken so far, those of earlier requests included.
    size: u64,
}

#[derive(Debug)]
enum State {
    Idle(Temporary),
    Writing(JoinHandle<(Temporary, Vec<u8>, io::Result<()>)>),
    /// A write failed, or the runtime is shutting down.
    Failed,
}

/// A temporary file and what is known of its bytes.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: TemporaryPath,
    /// None where the first bytes were written by an earlier request: the file is then hashed at the end.
    hasher: Option<ContentHasher>,
    written: u64,
    written_back: u64,
    /// Told of each write.
    growing: Option<Arc<Growing>>,
}

/// Where a file is that has no final name yet.
#[derive(Debug)]
pub(super) struct TemporaryPath {
    path: PathBuf,
    dropped: Dropped,
}

impl TemporaryPath {
    /// What becomes of the file when this is dropped.
    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file has another name now, or stays where it is.
    pub(super) fn keep(mut self) {
        self.dropped = Dropped::Left;
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        if self.dropped == Dropped::Removed
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            // The sweep at the next start removes it.
            tracing::warn!(%error, path = %self.path.display(), "a temporary file could not be removed");
        }
    }
}

/// All bytes of a blob, on stable storage under a temporary name.
#[derive(Debug)]
pub struct Hashed {
    /// The SHA-256 of the bytes.
    pub sha256: ContentHash,
    /// Their number.
    pub size: u64,
    pub(super) path: TemporaryPath,
}

/// What becomes of the file of an [`Incoming`] that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It goes.
    Removed,
    /// It stays until it is removed by its name.
    Left,
}

impl Incoming {
    /// Creates the file.
    pub(super) async fn create(path: PathBuf, dropped: Dropped, runtime: Option<Handle>) -> Result<Self, BlobsError> {
        let file = run_blocking(move || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            if dropped == Dropped::Left {
                file.lock()?;
            }
            let hasher = Some(ContentHasher::default());
            let path = TemporaryPath { path, dropped };
            Ok(Temporary { file, path, hasher, written: 0, written_back: 0, growing: None })
        })
        .await?;
        Ok(Self::of(file, runtime))
    }

    /// Opens a file that was paused at `size` bytes. What was written after that is cut off. Of nothing there need not
    /// be a file yet.
    ///
    /// A request that had the file before and lost the right to it, because its process was paused and taken for dead, may
    /// still write to it: as long as it has it open, nobody else does.
    pub(super) async fn open(path: PathBuf, size: u64, runtime: Option<Handle>) -> Result<Self, BlobsError> {
        let opening = {
            let path = path.clone();
            move || {
                let file = OpenOptions::new().read(true).write(true).create(size == 0).truncate(false).open(&path)?;
                lock_soon(&file).map(|locked| locked.then_some(file))
            }
        };
        let Some(mut file) = run_blocking(opening).await? else {
            return Err(BlobsError::Unavailable("an earlier request still has this upload open".to_owned()));
        };
        let file = run_blocking(move || {
            if file.metadata()?.len() < size {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than recorded"));
            }
            file.set_len(size)?;
            file.seek(io::SeekFrom::End(0))?;
            let hasher = (size == 0).then(ContentHasher::default);
            let path = TemporaryPath { path, dropped: Dropped::Left };
            Ok(Temporary { file, path, hasher, written: size, written_back: size, growing: None })
        })
        .await?;
        Ok(Self::of(file, runtime))
    }

    fn of(file: Temporary, runtime: Option<Handle>) -> Self {
        let size = file.written;
        Self {
            state: State::Idle(file),
            runtime,
            block: Vec::with_capacity(BLOCK),
            spare: Vec::new(),
            last_write: None,
            size,
        }
    }

    /// Bytes taken so far, those of earlier requests included.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A handle of its own on the file, and its path.
    pub(super) async fn file(&mut self) -> Result<(File, PathBuf), BlobsError> {
        let temporary = self.settle().await?;
        let path = temporary.path.path().to_owned();
        self.state = State::Idle(temporary);
        run_blocking(move || Ok((File::open(&path)?, path))).await
    }

    /// From here on, `growing` is told of every write.
    ///
    /// # Errors
    /// [`BlobsError`] if earlier bytes could not be written.
    pub async fn report_to(&mut self, growing: Arc<Growing>) -> Result<(), BlobsError> {
        let mut temporary = self.settle().await?;
        growing.report(temporary.written);
        temporary.growing = Some(growing);
        self.state = State::Idle(temporary);
        Ok(())
    }

    /// Takes the next bytes. Returns when there is room for more, which may be before they are written.
    ///
    /// # Errors
    /// [`BlobsError`] if these or earlier bytes could not be written.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), BlobsError> {
        while !bytes.is_empty() {
            let room = BLOCK - self.block.len();
            let taken = bytes.split_to(room.min(bytes.len()));
            self.block.extend_from_slice(&taken);
            self.size += taken.len() as u64;
            if self.block.len() == BLOCK {
                self.start_writing().await?;
            }
        }
        Ok(())
    }

    /// Begins to write what was gathered, though it is less than a block, as soon as that is useful; never returns
    /// while there is nothing to write. It can be dropped at any await, and nothing is lost.
    ///
    /// # Errors
    /// [`BlobsError`] if earlier bytes could not be written.
    pub async fn catch_up(&mut self) -> Result<(), BlobsError> {
        if self.block.is_empty() {
            std::future::pending::<()>().await;
        }
        if let Some(last) = self.last_write {
            tokio::time::sleep_until((last + PACE).into()).await;
        }
        self.start_writing().await
    }

    /// Writes what is left, and syncs the file.
    ///
    /// # Errors
    /// [`BlobsError`] if anything could not be written or synced.
    pub async fn finish(mut self) -> Result<Hashed, BlobsError> {
        let mut temporary = self.write_all().await?;
        run_blocking(move || {
            temporary.file.sync_all()?;
            let sha256 = match temporary.hasher.take() {
                Some(hasher) => hasher.finish(),
                None => hash_of(&mut temporary.file)?,
            };
            Ok(Hashed { sha256, size: temporary.written, path: temporary.path })
        })
        .await
    }

    /// All bytes, read back into memory. For few bytes only.
    ///
    /// # Errors
    /// [`BlobsError`] if anything could not be written or read.
    pub async fn into_bytes(mut self) -> Result<Bytes, BlobsError> {
        let mut temporary = self.write_all().await?;
        run_blocking(move || {
            let mut bytes = Vec::with_capacity(usize::try_from(temporary.written).unwrap_or_default());
            temporary.file.rewind()?;
            temporary.file.read_to_end(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    /// All bytes as a file without a name, at its beginning. Nothing is synced.
    pub(super) async fn into_file(mut self) -> Result<File, BlobsError> {
        let mut temporary = self.write_all().await?;
        run_blocking(move || {
            temporary.file.rewind()?;
            // Its name goes with its path.
            Ok(temporary.file)
        })
        .await
    }

    /// Writes what was gathered, syncs the file and leaves it where it is, to be opened again. Returns its size in
    /// bytes.
    ///
    /// # Errors
    /// [`BlobsError`] if anything could not be written or synced.
    pub async fn pause(mut self) -> Result<u64, BlobsError> {
        let temporary = self.write_all().await?;
        run_blocking(move || {
            temporary.file.sync_all()?;
            let folder = temporary.path.path().parent().ok_or(io::ErrorKind::InvalidInput)?;
            File::open(folder)?.sync_all()?;
            temporary.path.keep();
            Ok(temporary.written)
        })
        .await
    }

    async fn write_all(&mut self) -> Result<Temporary, BlobsError> {
        if !self.block.is_empty() {
            self.start_writing().await?;
        }
        self.settle().await
    }

    async fn start_writing(&mut self) -> Result<(), BlobsError> {
        let mut temporary = self.settle().await?;
        let next =
            if self.spare.capacity() == BLOCK { std::mem::take(&mut self.spare) } else { Vec::with_capacity(BLOCK) };
        let mut block = std::mem::replace(&mut self.block, next);
        self.last_write = Some(Instant::now());
        let write = move || {
            let outcome = temporary.write(&block);
            block.clear();
            (temporary, block, outcome)
        };
        self.state = State::Writing(match &self.runtime {
            Some(runtime) => runtime.spawn_blocking(write),
            None => tokio::task::spawn_blocking(write),
        });
        Ok(())
    }

    /// Waits for the block that is being written. Dropped while it waits, it changes nothing.
    async fn settle(&mut self) -> Result<Temporary, BlobsError> {
        if let State::Writing(writing) = &mut self.state {
            let outcome = writing.await;
            self.state = State::Failed;
            let (temporary, block, outcome) = outcome.map_err(io::Error::other)?;
            outcome?;
            self.spare = block;
            return Ok(temporary);
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(temporary) => Ok(temporary),
            State::Writing(_) | State::Failed => Err(BlobsError::Io(io::Error::other("an earlier write failed"))),
        }
    }
}

impl Temporary {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(block);
        }
        self.file.write_all(block)?;
        self.written += block.len() as u64;
        if let Some(growing) = &self.growing {
            growing.report(self.written);
        }
        if self.written - self.written_back >= WRITE_BACK {
            start_write_back(&self.file, self.written_back, self.written - self.written_back);
            self.written_back = self.written;
        }
        Ok(())
    }
}

/// Locks the file, unless somebody holds it for longer than a block takes to be written.
fn lock_soon(file: &File) -> io::Result<bool> {
    let end = Instant::now() + LOCKED_AT_MOST;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PACE),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn hash_of(file: &mut File) -> io::Result<ContentHash> {
    let mut hasher = ContentHasher::default();
    let mut block = vec![0; BLOCK];
    file.rewind()?;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&block[..read]),
        }
    }
}

/// Asks the kernel to start writing a range to the disk, without waiting. A hint: its failure changes nothing, because
/// the sync at the end is what counts.
#[expect(unsafe_code, reason = "rustix does not wrap sync_file_range")]
fn start_write_back(file: &File, from: u64, length: u64) {
    if let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(length)) {
        // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call touches no memory of ours.
        unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
    }
}

/// Runs disk work on a thread that may block.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobsError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}
