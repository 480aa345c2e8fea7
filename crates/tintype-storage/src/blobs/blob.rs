//! A blob, and its bytes, wherever it is kept.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::{BlobFile, BlobsError, FileStream};

/// A blob that can be read as often as wanted.
#[derive(Debug, Clone)]
pub enum Blob {
    /// In a file.
    File(BlobFile),
}

impl Blob {
    /// The bytes of the blob in `range`, which must lie within it. They begin to be read: what is not there, or cannot
    /// be reached, is an error here and not at the first of them.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read.
    #[expect(clippy::unused_async, reason = "a store that is far away is asked here")]
    pub async fn stream(&self, range: Range<u64>) -> Result<BlobStream, BlobsError> {
        match self {
            Self::File(file) => Ok(BlobStream::File(file.stream(range))),
        }
    }

    /// The same, but nothing is read before the first of them is wanted.
    pub fn stream_later(&self, range: Range<u64>) -> BlobStream {
        match self {
            Self::File(file) => BlobStream::File(file.stream(range)),
        }
    }

    /// The whole blob as a file of this machine, for a thread that reads it.
    ///
    /// # Errors
    /// [`BlobsError`] if it cannot be opened, or cannot be brought here.
    #[expect(clippy::unused_async, reason = "from a store that is far away it is brought here")]
    pub async fn file(&self) -> Result<BlobFile, BlobsError> {
        match self {
            Self::File(file) => Ok(file.clone()),
        }
    }
}

/// Bytes of a blob, in order. Ends with an error if there are fewer than the range has.
#[derive(Debug)]
pub enum BlobStream {
    /// Of a file.
    File(FileStream),
}

impl Stream for BlobStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::File(stream) => stream.poll_next_unpin(context),
        }
    }
}
