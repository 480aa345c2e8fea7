//! A blob, and its bytes, wherever it is kept.

use std::{
    fs::File,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::{
    BlobFile, BlobsError, FileStream, Location, MovingBlob, MovingStream, Object, ObjectStream, PresignedHeaders,
};

/// A blob that can be read as often as wanted.
#[derive(Debug, Clone)]
pub enum Blob {
    /// In a file.
    File(BlobFile),
    /// In an object.
    Object(Object),
    /// In one of two stores, of which one is emptied into the other.
    Moving(MovingBlob),
}

/// A blob that is all on this machine.
#[derive(Debug)]
pub enum LocalBlob {
    /// The file that it is kept in.
    Kept(BlobFile),
    /// A copy, which goes with this.
    Copy(File),
}

impl LocalBlob {
    /// A file of the caller's own, at its beginning.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it can no longer be opened.
    pub fn into_file(self) -> Result<File, BlobsError> {
        match self {
            Self::Kept(file) => file.reopen(),
            Self::Copy(file) => Ok(file),
        }
    }
}

impl Blob {
    /// The bytes of the blob in `range`, which must lie within it. They begin to be read: what is not there, or cannot
    /// be reached, is an error here and not at the first of them.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read.
    pub async fn stream(&self, range: Range<u64>) -> Result<BlobStream, BlobsError> {
        match self {
            Self::File(file) => Ok(BlobStream::File(file.stream(range))),
            Self::Object(object) => Ok(BlobStream::Object(Box::pin(object.begin(range)).await?)),
            Self::Moving(blob) => Ok(BlobStream::Moving(Box::pin(blob.begin(range)).await?)),
        }
    }

    /// The same, but nothing is read before the first of them is wanted.
    pub fn stream_later(&self, range: Range<u64>) -> BlobStream {
        match self {
            Self::File(file) => BlobStream::File(file.stream(range)),
            Self::Object(object) => BlobStream::Object(object.stream(range)),
            Self::Moving(blob) => BlobStream::Moving(blob.stream(range)),
        }
    }

    /// Where it is.
    pub fn location(&self) -> Option<Location> {
        match self {
            Self::File(file) => file.path.file_name()?.to_str().and_then(Location::parse),
            Self::Object(object) => Some(object.location().clone()),
            // Nobody else would look for it twice.
            Self::Moving(_) => None,
        }
    }

    /// A URL with which anybody can read it for as long as `expires`, in whole seconds, from the store itself; none where
    /// it is in no store that gives such URLs.
    ///
    /// # Errors
    /// [`BlobsError`] if it cannot be signed.
    pub async fn presigned(&self, headers: PresignedHeaders, expires: Duration) -> Result<Option<String>, BlobsError> {
        match self {
            Self::File(_) | Self::Moving(_) => Ok(None),
            Self::Object(object) => Box::pin(object.presigned(headers, expires)).await.map(Some),
        }
    }

    /// The whole blob, of `size` bytes, as a file of this machine, for a thread that reads it.
    ///
    /// # Errors
    /// [`BlobsError`] if it cannot be brought here.
    pub async fn local(&self, size: u64) -> Result<LocalBlob, BlobsError> {
        match self {
            Self::File(file) => Ok(LocalBlob::Kept(file.clone())),
            Self::Object(object) => Ok(LocalBlob::Copy(Box::pin(object.file(size)).await?)),
            Self::Moving(blob) => Ok(LocalBlob::Copy(Box::pin(blob.file(size)).await?)),
        }
    }
}

/// Bytes of a blob, in order. Ends with an error if there are fewer than the range has.
#[derive(Debug)]
pub enum BlobStream {
    /// Of a file.
    File(FileStream),
    /// Of an object.
    Object(ObjectStream),
    /// Of a blob that may be in another store a moment later.
    Moving(MovingStream),
}

impl Stream for BlobStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::File(stream) => stream.poll_next_unpin(context),
            Self::Object(stream) => stream.poll_next_unpin(context),
            Self::Moving(stream) => stream.poll_next_unpin(context),
        }
    }
}
