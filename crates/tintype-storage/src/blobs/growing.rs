//! A blob that is read while it is still being written.
//!
//! Its writer reports how far it has come; readers take from the file what is there and wait for the rest. They share
//! nothing but that one number, so that a slow reader holds up neither the writer nor another reader, and a reader that
//! waits holds no buffer. The file may be renamed or removed meanwhile: its readers go on with the open one. When it
//! breaks off the file is closed at once, however long its readers take to notice: on a full disk nothing goes on until
//! its space is free.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::watch;

use super::{BlobFile, BlobsError};

/// A piece with fewer bytes is copied, rather than keep a whole pooled buffer for them.
const SMALL: usize = 32 * 1024;

/// A blob that grows.
#[derive(Debug)]
pub struct Growing {
    /// Nothing once it broke off.
    file: Mutex<Option<BlobFile>>,
    length: Option<u64>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    written: u64,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There may be more to come.
    Open,
    /// It is whole, and recorded.
    Whole,
    /// It will never be whole.
    Broken,
}

impl Growing {
    pub(super) fn new(file: BlobFile, written: u64, length: Option<u64>) -> Self {
        Self {
            file: Mutex::new(Some(file)),
            length,
            progress: watch::Sender::new(Progress { written, end: End::Open }),
        }
    }

    /// Its length in bytes when it is whole, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes that can be read now.
    pub fn arrived(&self) -> u64 {
        self.visible(*self.progress.borrow())
    }

    /// Whether it is whole, and recorded.
    pub fn is_whole(&self) -> bool {
        self.progress.borrow().end == End::Whole
    }

    /// Waits until the byte at `offset` can be read, or never will be.
    pub async fn reaches(&self, offset: u64) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`.
        let _ = progress.wait_for(|now| now.end != End::Open || self.visible(*now) > offset).await;
    }

    /// It is whole, and recorded: readers get its last bytes.
    pub fn finish(&self) {
        self.progress.send_modify(|now| now.end = End::Whole);
    }

    /// It will never be whole: readers get an error, and the file is closed.
    pub fn break_off(&self) {
        let breaks = self.progress.send_if_modified(|now| {
            let open = now.end == End::Open;
            if open {
                now.end = End::Broken;
            }
            open
        });
        if breaks {
            *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(super) fn report(&self, written: u64) {
        self.progress.send_modify(|now| now.written = written);
    }

    /// The bytes from `from` up to, but not including, `to`, or up to the end where that is not given. Ends with
    /// [`BlobsError::BrokenOff`] if they never come.
    pub fn stream(self: &Arc<Self>, from: u64, to: Option<u64>) -> GrowingStream {
        let reader = Reader {
            growing: Arc::clone(self),
            progress: self.progress.subscribe(),
            at: from,
            to: to.unwrap_or(u64::MAX),
        };
        GrowingStream(Box::pin(stream::unfold(reader, async |mut reader| {
            let piece = reader.next().await?;
            Some((piece, reader))
        })))
    }

    /// Of a body whose length is known the last byte is kept back until the whole is recorded: by that byte a client
    /// takes it for whole, and it may still be refused.
    fn visible(&self, progress: Progress) -> u64 {
        match self.length {
            Some(length) if progress.end != End::Whole => progress.written.min(length.saturating_sub(1)),
            _ => progress.written,
        }
    }
}

/// Bytes of a growing blob, in order.
pub struct GrowingStream(Pin<Box<dyn Stream<Item = Result<Bytes, BlobsError>> + Send>>);

impl std::fmt::Debug for GrowingStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrowingStream")
    }
}

impl Stream for GrowingStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

struct Reader {
    growing: Arc<Growing>,
    progress: watch::Receiver<Progress>,
    at: u64,
    to: u64,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, BlobsError>> {
        loop {
            let progress = *self.progress.borrow_and_update();
            let end = self.growing.visible(progress).min(self.to);
            if self.at >= self.to {
                return None;
            } else if progress.end == End::Broken {
                return Some(self.fail(BlobsError::BrokenOff));
            } else if self.at < end {
                return self.read(end).await;
            } else if progress.end == End::Whole {
                return None;
            } else if self.progress.changed().await.is_err() {
                return Some(self.fail(BlobsError::BrokenOff));
            }
        }
    }

    /// Reads a piece of what is there up to `end`. Nothing is open between two pieces.
    async fn read(&mut self, end: u64) -> Option<Result<Bytes, BlobsError>> {
        let file = self.growing.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(file) = file else { return Some(self.fail(BlobsError::BrokenOff)) };
        match file.stream(self.at..end).next().await? {
            Ok(bytes) => {
                self.at += bytes.len() as u64;
                Some(Ok(if bytes.len() < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes }))
            }
            Err(error) => Some(self.fail(error)),
        }
    }

    /// Nothing comes after an error.
    fn fail(&mut self, error: BlobsError) -> Result<Bytes, BlobsError> {
        self.to = self.at;
        Err(error)
    }
}
