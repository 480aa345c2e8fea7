//! Blobs in two stores: one that they are moved to, and one that some of them still are in.
//!
//! What is new goes to the new store. What is read is looked for in both; a removal takes effect in both, since a copy may
//! just be made. A blob is in the old store until it is whole in the new one, so whoever looks into the new one, then into
//! the old one, and then into the new one again, finds it.

mod bring;

pub use self::bring::Brought;

use std::{
    fmt,
    fs::File,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use super::{Blob, BlobStream, Blobs, BlobsError, Hashed, Location};

/// Two stores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Moving(Arc<Stores>);

#[derive(Debug)]
struct Stores {
    new: Blobs,
    old: Blobs,
}

/// A blob of one of them.
#[derive(Debug, Clone)]
pub struct MovingBlob {
    moving: Moving,
    location: Location,
}

impl Moving {
    /// Blobs that are moved from one store to the other.
    pub fn new(old: impl Into<Blobs>, new: impl Into<Blobs>) -> Self {
        Self(Arc::new(Stores { new: new.into(), old: old.into() }))
    }

    pub(super) fn new_store(&self) -> &Blobs {
        &self.0.new
    }

    pub(super) fn old_store(&self) -> &Blobs {
        &self.0.old
    }

    /// In this order no blob is missed that is moved meanwhile.
    fn in_order(&self) -> [&Blobs; 3] {
        [self.new_store(), self.old_store(), self.new_store()]
    }

    pub(super) async fn publish(&self, blob: Hashed) -> Result<Location, BlobsError> {
        self.new_store().publish(blob).await
    }

    /// A file that is there is given at once: it can be read to its end although it is moved meanwhile.
    pub(super) async fn read(&self, location: &Location) -> Result<Blob, BlobsError> {
        for store in self.in_order() {
            let Blobs::Files(files) = store else { continue };
            match files.read(location).await {
                Err(BlobsError::NotFound(_)) => {}
                file => return file.map(Blob::File),
            }
        }
        match (self.new_store(), self.old_store()) {
            (Blobs::Files(_), Blobs::Files(_)) => Err(BlobsError::NotFound(location.clone())),
            // Nothing ever goes back into the folder.
            (Blobs::Objects(objects), Blobs::Files(_)) => Ok(Blob::Object(objects.object(location))),
            _ => Ok(Blob::Moving(MovingBlob { moving: self.clone(), location: location.clone() })),
        }
    }

    pub(super) async fn remove(&self, location: &Location) -> Result<(), BlobsError> {
        let new = self.new_store().remove(location).await;
        self.old_store().remove(location).await?;
        new
    }

    pub(super) async fn probe(&self) -> Result<(), BlobsError> {
        self.new_store().probe().await?;
        self.old_store().probe().await
    }

    pub(super) async fn ready(&self) -> Result<(), BlobsError> {
        self.new_store().ready().await?;
        self.old_store().ready().await
    }
}

impl MovingBlob {
    /// The bytes of `range`. Nothing is read before they are wanted.
    pub(super) fn stream(&self, range: Range<u64>) -> MovingStream {
        let reader = Reader { blob: self.clone(), at: range.start, end: range.end, bytes: None, moved: 0 };
        MovingStream {
            first: None,
            rest: Box::pin(stream::unfold(reader, async |mut reader| {
                let piece = reader.next().await?;
                Some((piece, reader))
            })),
        }
    }

    /// The same; the first of them are there.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read.
    pub(super) async fn begin(&self, range: Range<u64>) -> Result<MovingStream, BlobsError> {
        let mut stream = self.stream(range);
        stream.first = stream.rest.next().await.transpose()?.map(Ok);
        Ok(stream)
    }

    /// All of its bytes, `size` of them, as a file without a name.
    ///
    /// # Errors
    /// [`BlobsError`] if they cannot be read, or not be written here.
    pub(super) async fn file(&self, size: u64) -> Result<File, BlobsError> {
        let mut bytes = self.begin(0..size).await?;
        let mut copy = self.moving.new_store().arriving().receive().await?;
        while let Some(piece) = bytes.next().await {
            copy.write(piece?).await?;
        }
        copy.into_file().await
    }

    async fn open(&self, range: Range<u64>) -> Result<BlobStream, BlobsError> {
        for store in self.moving.in_order() {
            let opened = async { store.read(&self.location).await?.stream(range.clone()).await };
            match Box::pin(opened).await {
                Err(BlobsError::NotFound(_)) => {}
                opened => return opened,
            }
        }
        Err(BlobsError::NotFound(self.location.clone()))
    }
}

/// Bytes of a blob that may be in another store a moment later, in order. Ends with an error if there are fewer than the
/// range has.
pub struct MovingStream {
    /// What was read while it was opened.
    first: Option<Result<Bytes, BlobsError>>,
    rest: Pin<Box<dyn Stream<Item = Result<Bytes, BlobsError>> + Send>>,
}

impl Stream for MovingStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.rest.as_mut().poll_next(context),
        }
    }
}

impl fmt::Debug for MovingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MovingStream")
    }
}

struct Reader {
    blob: MovingBlob,
    at: u64,
    end: u64,
    bytes: Option<Box<BlobStream>>,
    /// How often it was moved away in the middle.
    moved: u32,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, BlobsError>> {
        while self.at < self.end {
            let bytes = match &mut self.bytes {
                Some(bytes) => bytes,
                none => match self.blob.open(self.at..self.end).await {
                    Ok(opened) => none.insert(Box::new(opened)),
                    Err(error) => return Some(self.fail(error)),
                },
            };
            match bytes.next().await? {
                Ok(piece) => {
                    self.at += piece.len() as u64;
                    return Some(Ok(piece));
                }
                // What is left of it is in the other store now. It moves once.
                Err(BlobsError::NotFound(_)) if self.moved < 2 => {
                    self.moved += 1;
                    self.bytes = None;
                }
                Err(error) => return Some(self.fail(error)),
            }
        }
        None
    }

    /// Nothing comes after an error.
    fn fail(&mut self, error: BlobsError) -> Result<Bytes, BlobsError> {
        self.end = self.at;
        Err(error)
    }
}
