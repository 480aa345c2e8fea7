//! The blobs: bytes that are too many to live beside their record.
//!
//! A blob is written once under a name of its own and never changed. Its name begins with the SHA-256 of its bytes and
//! ends in a random suffix, so that **a name is never used twice**: whoever removes a blob can never hit
//! bytes that somebody else stored under the same hash a moment later. Which of two blobs with the same bytes is kept
//! is decided by the records, in one statement; the other one is removed by whoever brought it.

mod blob;
mod buffers;
mod cache;
mod files;
mod growing;
mod incoming;
mod location;
mod moving;
mod objects;
mod place;
mod reader;
mod shelf;
mod store;
mod verify;

pub use self::{
    blob::{Blob, BlobStream, LocalBlob},
    cache::{Cache, CacheCounts, CacheSettings, DiskCache},
    files::{Files, PartialName, Sweep},
    growing::{Growing, GrowingStream},
    incoming::{Hashed, Incoming},
    location::Location,
    moving::{Brought, Moving, MovingBlob, MovingStream},
    objects::{Addressing, Bucket, BucketCredentials, Object, ObjectStream, Objects, PresignedHeaders},
    place::{Left, SILENCE},
    reader::{BlobFile, FileStream},
    shelf::Stored,
    store::Blobs,
    verify::{Pace, Verdict},
};

use std::io;

/// Why a blob could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError {
    /// The disk, or the folder's quota, is full.
    #[error("the disk that holds the media is full")]
    DiskFull,
    /// Another process uses this folder.
    #[error("{0} is used by another tintype process")]
    InUse(std::path::PathBuf),
    /// There is no such blob.
    #[error("there is no blob {}", .0.as_str())]
    NotFound(Location),
    /// A file is shorter than it was when it was written.
    #[error("the file {0} is damaged: it is shorter than recorded")]
    Truncated(std::path::PathBuf),
    /// The upload that was read while it arrived has broken off.
    #[error("the upload broke off while it was read")]
    BrokenOff,
    /// The object store does not answer, or cannot do it at the moment.
    #[error("the object store is not available: {0}")]
    Unavailable(String),
    /// The object store refuses, or does what it should not: waiting does not help.
    #[error("the object store failed: {0}")]
    Store(String),
    /// The disk failed.
    #[error("the media folder failed: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for BlobsError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}
