//! Reading a file: a stream of pooled buffers that never blocks an async thread.
//!
//! `preadv2` with `RWF_NOWAIT` copies what the page cache has and says so when it has nothing; only then does a
//! blocking thread wait for the disk. So a file that is hot costs no hop between threads, and one that is cold stalls
//! nobody else.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use super::{
    BlobsError,
    buffers::{BUFFER, Buffer, Buffers},
};

/// An open file.
#[derive(Debug, Clone)]
pub struct BlobFile {
    pub(super) file: Arc<File>,
    pub(super) path: Arc<PathBuf>,
    pub(super) buffers: Buffers,
}

impl BlobFile {
    /// The bytes of the file in `range`, which must lie within it.
    pub fn stream(&self, range: Range<u64>) -> FileStream {
        FileStream { file: self.clone(), at: range.start, end: range.end, waiting: None }
    }

    /// A handle of its own on the file, for a thread that reads it from the beginning.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the file can no longer be opened.
    pub fn reopen(&self) -> Result<File, BlobsError> {
        Ok(File::open(&*self.path)?)
    }
}

/// Bytes of a file, in order. Ends with an error if it is shorter than the range.
#[derive(Debug)]
pub struct FileStream {
    file: BlobFile,
    at: u64,
    end: u64,
    /// A read that found nothing in the page cache.
    waiting: Option<JoinHandle<io::Result<(Buffer, usize)>>>,
}

impl FileStream {
    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.end - self.at
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.remaining()).unwrap_or(BUFFER).min(BUFFER)
    }

    fn deliver(&mut self, buffer: Buffer, read: usize) -> Result<Bytes, BlobsError> {
        if read == 0 {
            self.at = self.end;
            return Err(BlobsError::Truncated(self.file.path.to_path_buf()));
        }
        self.at += read as u64;
        Ok(buffer.into_bytes(read))
    }

    /// Reads what the page cache has; nothing, if it has nothing here.
    fn read_cached(&self, buffer: &mut Buffer) -> io::Result<Option<usize>> {
        let wanted = self.wanted();
        let mut slices = [IoSliceMut::new(&mut buffer.space()[..wanted])];
        loop {
            match preadv2(&*self.file.file, &mut slices, self.at, ReadWriteFlags::NOWAIT) {
                Ok(read) => return Ok(Some(read)),
                Err(Errno::INTR) => {}
                // Nothing cached, or a filesystem that cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_waiting(&self, mut buffer: Buffer) -> JoinHandle<io::Result<(Buffer, usize)>> {
        let (file, at, wanted) = (Arc::clone(&self.file.file), self.at, self.wanted());
        tokio::task::spawn_blocking(move || {
            let read = file.read_at(&mut buffer.space()[..wanted], at)?;
            Ok((buffer, read))
        })
    }
}

impl Stream for FileStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.at >= this.end {
            return Poll::Ready(None);
        }
        if this.waiting.is_none() {
            let mut buffer = this.file.buffers.take();
            match this.read_cached(&mut buffer) {
                Ok(Some(read)) => return Poll::Ready(Some(this.deliver(buffer, read))),
                Ok(None) => this.waiting = Some(this.read_waiting(buffer)),
                Err(error) => {
                    this.at = this.end;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
        let Some(waiting) = &mut this.waiting else { return Poll::Ready(None) };
        let outcome = ready!(Pin::new(waiting).poll(context));
        this.waiting = None;
        Poll::Ready(Some(match outcome.map_err(io::Error::other).flatten() {
            Ok((buffer, read)) => this.deliver(buffer, read),
            Err(error) => {
                this.at = this.end;
                Err(error.into())
            }
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.remaining() > 0), None)
    }
}
