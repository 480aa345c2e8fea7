//! One blob on its way from the old store to the new one.

use futures_util::StreamExt as _;
use tintype_domain::{ContentHash, ContentHasher};

use super::Moving;
use crate::blobs::{Blobs, BlobsError, Hashed, Location};

/// Where a blob is after it was to be brought to the new store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// In the new store, and in the old one still.
    Copied,
    /// In the new store; the old one has none.
    Already,
    /// In the old store, where its bytes are not those that were stored.
    Damaged,
    /// In neither.
    Missing,
}

impl Moving {
    /// Brings a blob of `size` bytes to the new store, under the same name. Its hash is taken as it is read from the old
    /// store and, where the new one is far away, once more as that gives it back. Does no harm where it was done before.
    ///
    /// # Errors
    /// [`BlobsError`] if a store fails; then the blob is still in the old one.
    pub async fn bring(&self, location: &Location, size: u64) -> Result<Brought, BlobsError> {
        let hashed = match self.fetch(location, size).await {
            Ok(hashed) => hashed,
            Err(BlobsError::NotFound(_)) if has(self.new_store(), location, size).await? => {
                return Ok(Brought::Already);
            }
            Err(BlobsError::NotFound(_)) => return Ok(Brought::Missing),
            Err(BlobsError::Truncated(_)) => return Ok(Brought::Damaged),
            Err(error) => return Err(error),
        };
        if hashed.sha256 != location.content_hash() {
            return Ok(Brought::Damaged);
        }
        match self.new_store() {
            Blobs::Files(files) => files.take_over(hashed, location).await?,
            Blobs::Objects(objects) => {
                objects.take_over(hashed, location).await?;
                if hash_in(self.new_store(), location, size).await? != location.content_hash() {
                    let message = format!("of {} it gives back other bytes than it was given", location.as_str());
                    return Err(BlobsError::Store(message));
                }
            }
            Blobs::Moving(_) => {
                return Err(BlobsError::Store("blobs are moved from one store to one store".to_owned()));
            }
        }
        Ok(Brought::Copied)
    }

    /// Removes a blob from the old store: it is whole in the new one.
    ///
    /// # Errors
    /// [`BlobsError`] if it is still there.
    pub async fn leave(&self, location: &Location) -> Result<(), BlobsError> {
        Box::pin(self.old_store().remove(location)).await
    }

    /// Removes a blob that no record names from both.
    ///
    /// # Errors
    /// [`BlobsError`] if it is still in one of them.
    pub async fn drop_from_both(&self, location: &Location) -> Result<(), BlobsError> {
        Box::pin(self.remove(location)).await
    }

    /// The bytes from the old store, in a file where they arrive in the new one.
    async fn fetch(&self, location: &Location, size: u64) -> Result<Hashed, BlobsError> {
        let blob = Box::pin(self.old_store().read(location)).await?;
        let mut bytes = Box::pin(blob.stream(0..size)).await?;
        let mut copy = self.new_store().arriving().receive().await?;
        while let Some(piece) = bytes.next().await {
            copy.write(piece?).await?;
        }
        copy.finish().await
    }
}

async fn has(store: &Blobs, location: &Location, size: u64) -> Result<bool, BlobsError> {
    match store {
        Blobs::Files(files) => files.has(location, size).await,
        Blobs::Objects(objects) => objects.has(location, size).await,
        Blobs::Moving(_) => Ok(false),
    }
}

async fn hash_in(store: &Blobs, location: &Location, size: u64) -> Result<ContentHash, BlobsError> {
    let mut bytes = Box::pin(Box::pin(store.read(location)).await?.stream(0..size)).await?;
    let mut hasher = ContentHasher::default();
    while let Some(piece) = bytes.next().await {
        hasher.update(&piece?);
    }
    Ok(hasher.finish())
}
