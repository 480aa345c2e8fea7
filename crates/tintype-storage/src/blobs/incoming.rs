//! A blob that is arriving: hashed and written as it comes, without ever being collected in memory.
//!
//! Bytes are gathered into blocks; each block is hashed and written on a blocking thread while the next one is being
//! received. Every few megabytes the kernel is told to start writing back, so that the sync at the end finds little left
//! to do. Dropping an [`Incoming`] removes its temporary file, whatever state it was in.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tintype_domain::{ContentHash, ContentHasher};
use tokio::task::JoinHandle;

use super::BlobsError;

/// Bytes hashed and written together. Two blocks at most exist at once for one upload: one being written, one being
/// filled.
const BLOCK: usize = 256 * 1024;

/// Bytes after which the kernel is told to start writing.
const WRITE_BACK: u64 = 8 * 1024 * 1024;

/// A blob being received.
#[derive(Debug)]
pub struct Incoming {
    state: State,
    block: Vec<u8>,
    /// A block that was written, to be filled again.
    spare: Vec<u8>,
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
    hasher: ContentHasher,
    written: u64,
    written_back: u64,
}

/// Removes the file when dropped, unless it was renamed.
#[derive(Debug)]
pub(super) struct TemporaryPath(Option<PathBuf>);

impl TemporaryPath {
    pub(super) fn path(&self) -> &Path {
        self.0.as_deref().expect("the path is there until the file was renamed")
    }

    /// The file has another name now.
    pub(super) fn renamed(mut self) {
        self.0 = None;
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            // The sweep at the next start removes it.
            tracing::warn!(%error, path = %path.display(), "a temporary file could not be removed");
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

impl Incoming {
    /// Creates the temporary file.
    pub(super) async fn create(path: PathBuf) -> Result<Self, BlobsError> {
        let file = run_blocking(move || {
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            Ok(Temporary {
                file,
                path: TemporaryPath(Some(path)),
                hasher: ContentHasher::default(),
                written: 0,
                written_back: 0,
            })
        })
        .await?;
        Ok(Self { state: State::Idle(file), block: Vec::with_capacity(BLOCK), spare: Vec::new() })
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
            if self.block.len() == BLOCK {
                self.start_writing().await?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and syncs the file.
    ///
    /// # Errors
    /// [`BlobsError`] if anything could not be written or synced; the temporary file is removed.
    pub async fn finish(mut self) -> Result<Hashed, BlobsError> {
        if !self.block.is_empty() {
            self.start_writing().await?;
        }
        let temporary = self.settle().await?;
        run_blocking(move || {
            temporary.file.sync_all()?;
            Ok(Hashed { sha256: temporary.hasher.finish(), size: temporary.written, path: temporary.path })
        })
        .await
    }

    async fn start_writing(&mut self) -> Result<(), BlobsError> {
        let mut temporary = self.settle().await?;
        let next =
            if self.spare.capacity() == BLOCK { std::mem::take(&mut self.spare) } else { Vec::with_capacity(BLOCK) };
        let mut block = std::mem::replace(&mut self.block, next);
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            let outcome = temporary.write(&block);
            block.clear();
            (temporary, block, outcome)
        }));
        Ok(())
    }

    /// Waits for the block that is being written.
    async fn settle(&mut self) -> Result<Temporary, BlobsError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(temporary) => Ok(temporary),
            State::Writing(writing) => {
                let (temporary, block, outcome) = writing.await.map_err(io::Error::other)?;
                outcome?;
                self.spare = block;
                Ok(temporary)
            }
            State::Failed => Err(BlobsError::Io(io::Error::other("an earlier write failed"))),
        }
    }
}

impl Temporary {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.hasher.update(block);
        self.file.write_all(block)?;
        self.written += block.len() as u64;
        if self.written - self.written_back >= WRITE_BACK {
            start_write_back(&self.file, self.written_back, self.written - self.written_back);
            self.written_back = self.written;
        }
        Ok(())
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
