//! The bytes of media, wherever they are: in memory, in a file, in one that grows; and of ephemeral media only for as long
//! as it lives.

use std::{
    fs::File,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tintype_storage::blobs::{Blob, BlobStream, BlobsError, Growing, GrowingStream, LocalBlob};

use crate::{lives::Life, metrics::Counted};

/// Bytes that can be read, whole or in part, as often as wanted.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a blob.
    Blob(Blob),
    /// In a file that grows.
    Growing(GrowingContent),
    /// Of ephemeral media: given for as long as it lives.
    Ephemeral(Box<Content>, Life),
}

/// Bytes that are still arriving.
#[derive(Debug, Clone)]
pub struct GrowingContent {
    pub(crate) growing: Arc<Growing>,
    pub(crate) life: Option<Life>,
    /// The download counts as one that streams for as long as any part of it is read.
    pub(crate) counted: Arc<Counted>,
}

impl GrowingContent {
    /// The bytes from `start` up to, but not including, `end`, or up to the end where that is not given.
    pub fn range(&self, start: u64, end: Option<u64>) -> MediaContent {
        let stream = self.growing.stream(start, end);
        let content = MediaContent::Growing(GrowingMediaStream { stream, _counted: Arc::clone(&self.counted) });
        match &self.life {
            Some(life) => MediaContent::Ephemeral(Box::new(content), life.clone()),
            None => content,
        }
    }

    /// Its length in bytes, if it is known.
    pub fn length(&self) -> Option<u64> {
        self.growing.length()
    }

    /// Bytes that can be read now.
    pub fn arrived(&self) -> u64 {
        self.growing.arrived()
    }

    /// Its length in bytes, if it has been recorded meanwhile.
    pub fn length_of_whole(&self) -> Option<u64> {
        self.growing.is_whole().then(|| self.growing.arrived())
    }
}

/// Bytes of a range of some content.
#[derive(Debug)]
pub enum MediaContent {
    /// All of them at once.
    Memory(Bytes),
    /// One buffer after the other.
    Stream(BlobStream),
    /// What is there, and then what comes.
    Growing(GrowingMediaStream),
    /// Of ephemeral media: it breaks off when that ends.
    Ephemeral(Box<MediaContent>, Life),
}

impl MediaContent {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read, or will never come.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BlobsError>>> {
        match self {
            Self::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Memory(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Stream(stream) => stream.poll_next_unpin(context),
            Self::Growing(stream) => stream.poll_next_unpin(context),
            Self::Ephemeral(guarded, life) => {
                let bytes = ready!(guarded.poll_bytes(context));
                // Looked at last, so that what was read while it ended is not given either.
                if life.is_over() { Poll::Ready(Some(Err(BlobsError::BrokenOff))) } else { Poll::Ready(bytes) }
            }
        }
    }
}

impl From<Bytes> for MediaContent {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

/// Bytes of an upload that is arriving.
#[derive(Debug)]
pub struct GrowingMediaStream {
    stream: GrowingStream,
    _counted: Arc<Counted>,
}

impl Stream for GrowingMediaStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl Content {
    /// The bytes of `range`, which must lie within the content. They begin to be read: what is not there is an error
    /// here, while it can still be answered.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read.
    pub async fn range(&self, range: Range<u64>) -> Result<MediaContent, BlobsError> {
        Ok(match self {
            Self::Memory(bytes) => MediaContent::Memory(slice(bytes, range)),
            Self::Blob(blob) => MediaContent::Stream(blob.stream(range).await?),
            Self::Growing(growing) => growing.range(range.start, Some(range.end)),
            Self::Ephemeral(content, life) => {
                MediaContent::Ephemeral(Box::new(Box::pin(content.range(range)).await?), life.clone())
            }
        })
    }

    /// The same, but nothing is read before the first of them is wanted.
    pub fn range_later(&self, range: Range<u64>) -> MediaContent {
        match self {
            Self::Memory(bytes) => MediaContent::Memory(slice(bytes, range)),
            Self::Blob(blob) => MediaContent::Stream(blob.stream_later(range)),
            Self::Growing(growing) => growing.range(range.start, Some(range.end)),
            Self::Ephemeral(content, life) => {
                MediaContent::Ephemeral(Box::new(content.range_later(range)), life.clone())
            }
        }
    }
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(index(range.start)..index(range.end))
}

/// The content, for as long as the media lives.
pub(crate) fn living(content: Content, life: Option<&Life>) -> Content {
    match life {
        Some(life) => Content::Ephemeral(Box::new(content), life.clone()),
        None => content,
    }
}

/// Content that is all on this machine.
pub(crate) enum LocalContent {
    Memory(Bytes),
    File(LocalBlob),
}

impl LocalContent {
    /// Brings the content, of `size` bytes, here, if it is elsewhere.
    pub(crate) async fn of(content: &Content, size: u64) -> Result<Self, BlobsError> {
        Ok(match content {
            Content::Memory(bytes) => Self::Memory(bytes.clone()),
            Content::Blob(blob) => Self::File(blob.local(size).await?),
            Content::Ephemeral(content, _) => Box::pin(Self::of(content, size)).await?,
            Content::Growing(_) => return Err(io::Error::other("it is not whole yet").into()),
        })
    }
}

/// Content to be read from the beginning by a thread.
pub(crate) enum Source {
    Memory(io::Cursor<Bytes>),
    File(io::BufReader<File>),
}

impl Source {
    pub(crate) fn of(local: LocalContent) -> Result<Self, BlobsError> {
        Ok(match local {
            LocalContent::Memory(bytes) => Self::Memory(io::Cursor::new(bytes)),
            LocalContent::File(file) => Self::File(io::BufReader::with_capacity(64 * 1024, file.into_file()?)),
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
