//! A download: may the requester have it, and where are its bytes?

use std::{fs::File, io, ops::Range, sync::Arc};

use bytes::Bytes;
use tintype_domain::{Mxc, Requester};
use tintype_storage::{
    blobs::{BlobFile, BlobStream, BlobsError, Location},
    records::{Body, MediaRecord, RecordsError},
};

use crate::{Caller, RateLimited, Repository, StorageError, rates::Action, thumbnail::CachedThumbnail};

/// Bytes that can be read, whole or in part, as often as wanted.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file.
    File(BlobFile),
}

/// Bytes of a range of some content.
#[derive(Debug)]
pub enum MediaContent {
    /// All of them at once.
    Memory(Bytes),
    /// One buffer after the other.
    Stream(BlobStream),
}

impl Content {
    /// The bytes of `range`, which must lie within the content.
    pub fn range(&self, range: Range<u64>) -> MediaContent {
        match self {
            Self::Memory(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                MediaContent::Memory(bytes.slice(index(range.start)..index(range.end)))
            }
            Self::File(file) => MediaContent::Stream(file.stream(range)),
        }
    }
}

/// A piece of media that the caller may have.
#[derive(Debug, Clone)]
pub struct OpenedMedia {
    /// What is known of it.
    pub record: Arc<CachedMedia>,
    /// Its bytes.
    pub content: Content,
}

impl OpenedMedia {
    /// What is known of it.
    pub fn record(&self) -> &MediaRecord {
        &self.record.record
    }
}

/// Why media was not given out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Too many downloads.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// There is no such media here, or not for this requester: the two are not told apart.
    #[error("media not found")]
    NotFound,
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<RecordsError> for OpenError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<BlobsError> for OpenError {
    fn from(error: BlobsError) -> Self {
        Self::Storage(error.into())
    }
}

/// A record as it is remembered, with its bytes if they are few.
#[derive(Debug)]
pub struct CachedMedia {
    record: MediaRecord,
    pub(crate) body: Body,
}

impl CachedMedia {
    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.record.size
    }

    /// Itself, served as a thumbnail of this type.
    pub(crate) fn as_its_own_thumbnail(&self, content_type: &'static str) -> CachedThumbnail {
        CachedThumbnail { content_type, sha256: self.record.sha256, size: self.record.size, body: self.body.clone() }
    }

    /// Bytes of its body that are held in memory.
    pub(crate) fn body_in_memory(&self) -> usize {
        in_memory(&self.body)
    }
}

pub(crate) fn in_memory(body: &Body) -> usize {
    match body {
        Body::Inline(bytes) => bytes.len(),
        Body::At(_) => 0,
    }
}

impl Repository {
    /// Opens media for the caller.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub async fn open(&self, caller: &Caller, mxc: &Mxc) -> Result<OpenedMedia, OpenError> {
        self.0.limiters.check(Action::Download, caller)?;
        let record = self.find(&caller.requester, mxc).await?;
        let content = self.content(&record.body).await?;
        Ok(OpenedMedia { record, content })
    }

    /// The record of media that the requester may have.
    pub(crate) async fn find(&self, requester: &Requester, mxc: &Mxc) -> Result<Arc<CachedMedia>, OpenError> {
        if !self.0.is_ours(mxc) {
            return Err(OpenError::NotFound);
        }
        let cached = if let Some(cached) = self.0.media.get(mxc) {
            cached
        } else {
            let found = Box::pin(self.0.records.find_media(mxc)).await?.ok_or(OpenError::NotFound)?;
            let cached = Arc::new(CachedMedia { record: found.record, body: found.body });
            self.0.media.insert(mxc.clone(), Arc::clone(&cached));
            cached
        };
        let frozen = self.0.frozen_from.is_some_and(|from| cached.record.created_at >= from);
        if frozen && *requester == Requester::Anonymous {
            return Err(OpenError::NotFound);
        }
        Ok(cached)
    }

    /// Opens the bytes of a body.
    pub(crate) async fn content(&self, body: &Body) -> Result<Content, BlobsError> {
        Ok(match body {
            Body::Inline(bytes) => Content::Memory(bytes.clone()),
            Body::At(location) => Content::File(Box::pin(self.open_blob(location)).await?),
        })
    }

    async fn open_blob(&self, location: &Location) -> Result<BlobFile, BlobsError> {
        self.0.blobs.read(location).await.inspect_err(|error| {
            tracing::error!(%error, location = location.as_str(), "a recorded blob cannot be opened");
        })
    }
}

/// Content to be read from the beginning by a thread.
pub(crate) enum Source {
    Memory(io::Cursor<Bytes>),
    File(io::BufReader<File>),
}

impl Source {
    pub(crate) fn of(content: &Content) -> Result<Self, BlobsError> {
        Ok(match content {
            Content::Memory(bytes) => Self::Memory(io::Cursor::new(bytes.clone())),
            Content::File(file) => Self::File(io::BufReader::with_capacity(64 * 1024, file.reopen()?)),
        })
    }
}

impl io::Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(cursor) => cursor.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl io::BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Memory(cursor) => cursor.fill_buf(),
            Self::File(file) => file.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Memory(cursor) => cursor.consume(amount),
            Self::File(file) => file.consume(amount),
        }
    }
}

impl io::Seek for Source {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(cursor) => cursor.seek(to),
            Self::File(file) => file.seek(to),
        }
    }
}
