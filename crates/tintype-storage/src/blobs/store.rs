//! Where the blobs are, whatever that is.
//!
//! What arrives is always written to a local folder first, hashed and readable as it grows: only when it is whole does it
//! get its name where blobs are kept.

use std::{collections::HashSet, sync::Arc};

use tintype_domain::Timestamp;

use super::{
    Blob, BlobsError, CacheCounts, Files, Growing, Hashed, Incoming, Location, Moving, Objects, PartialName, Sweep,
};

/// A store of blobs. Cheap to clone: all clones are the same one.
#[derive(Debug, Clone)]
pub enum Blobs {
    /// Files in a folder.
    Files(Files),
    /// Objects of a bucket.
    Objects(Objects),
    /// In one store, and some still in another one.
    Moving(Moving),
}

impl From<Moving> for Blobs {
    fn from(moving: Moving) -> Self {
        Self::Moving(moving)
    }
}

impl From<Files> for Blobs {
    fn from(files: Files) -> Self {
        Self::Files(files)
    }
}

impl From<Objects> for Blobs {
    fn from(objects: Objects) -> Self {
        Self::Objects(objects)
    }
}

impl Blobs {
    /// Where it is written what arrives.
    pub(super) fn arriving(&self) -> &Files {
        match self {
            Self::Files(files) => files,
            Self::Objects(objects) => objects.scratch(),
            Self::Moving(moving) => moving.new_store().arriving(),
        }
    }

    /// Whether other nodes write to the folder that blobs arrive in, too.
    pub fn arrive_among_others(&self) -> bool {
        self.arriving().is_among_others()
    }

    /// The folders in which something arrives, or did when they were not the old ones yet.
    pub fn folders(&self) -> Vec<&Files> {
        match self {
            Self::Files(files) => vec![files],
            Self::Objects(objects) => vec![objects.scratch()],
            Self::Moving(moving) => {
                let old = match moving.old_store() {
                    Self::Files(files) => Some(files),
                    Self::Objects(_) | Self::Moving(_) => None,
                };
                moving.new_store().folders().into_iter().chain(old).collect()
            }
        }
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// [`BlobsError`] if no temporary file can be created.
    pub async fn receive(&self) -> Result<Incoming, BlobsError> {
        self.arriving().receive().await
    }

    /// Begins a blob that may arrive in several requests.
    ///
    /// # Errors
    /// [`BlobsError`] if the file cannot be created.
    pub async fn receive_partial(&self, name: &PartialName) -> Result<Incoming, BlobsError> {
        self.arriving().receive_partial(name).await
    }

    /// Goes on with a blob of which `size` bytes were kept.
    ///
    /// # Errors
    /// [`BlobsError`] if the file cannot be opened, or is shorter.
    pub async fn resume(&self, name: &PartialName, size: u64) -> Result<Incoming, BlobsError> {
        self.arriving().resume(name, size).await
    }

    /// Removes what was kept of a blob. That it is not there is no error.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if it is still there.
    pub async fn remove_partial(&self, name: &PartialName) -> Result<(), BlobsError> {
        self.arriving().remove_partial(name).await
    }

    /// Whether `size` bytes of a partial blob are there; what was written after them is cut off.
    ///
    /// # Errors
    /// [`BlobsError::Io`] if the file cannot be opened or cut.
    pub async fn cut_partial(&self, name: &PartialName, size: u64) -> Result<bool, BlobsError> {
        self.arriving().cut_partial(name, size).await
    }

    /// Opens a blob that is being received for readers who do not wait for its end. `length` is its length in bytes,
    /// if it is known. From here on the readers see what is written.
    ///
    /// # Errors
    /// [`BlobsError`] if the file cannot be opened, or earlier bytes could not be written.
    pub async fn grow(&self, incoming: &mut Incoming, length: Option<u64>) -> Result<Arc<Growing>, BlobsError> {
        self.arriving().grow(incoming, length).await
    }

    /// Gives the blob its name, durably. Until [`Blobs::recorded`] is called it counts as possibly unrecorded, and a
    /// crash removes it unless a record names it.
    ///
    /// # Errors
    /// [`BlobsError`] if it cannot be kept; nothing is left then.
    pub async fn publish(&self, blob: Hashed) -> Result<Location, BlobsError> {
        match self {
            Self::Files(files) => files.publish(blob).await,
            Self::Objects(objects) => objects.publish(blob).await,
            Self::Moving(moving) => Box::pin(moving.publish(blob)).await,
        }
    }

    /// A record names this blob now.
    pub async fn recorded(&self, location: &Location) {
        self.arriving().recorded(location).await;
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`BlobsError::NotFound`] if it is known not to be there; another [`BlobsError`] if it cannot be opened. A store
    /// that is far away is asked only when the bytes are: see [`Blob::stream`].
    pub async fn read(&self, location: &Location) -> Result<Blob, BlobsError> {
        match self {
            Self::Files(files) => Ok(Blob::File(files.read(location).await?)),
            Self::Objects(objects) => Ok(Blob::Object(objects.object(location))),
            Self::Moving(moving) => moving.read(location).await,
        }
    }

    /// Opens a blob of this size for reading, which may be kept near, wherever it is: nobody can take it away at once.
    ///
    /// # Errors
    /// As [`Blobs::read`].
    pub async fn read_lasting(&self, location: &Location, size: u64) -> Result<Blob, BlobsError> {
        match self {
            // Which of the two stores it is in is found out with each read.
            Self::Files(_) | Self::Moving(_) => self.read(location).await,
            Self::Objects(objects) => Ok(Blob::Object(objects.lasting_object(location, size))),
        }
    }

    /// Forgets what is kept near of a blob that is being removed.
    pub fn forget(&self, location: &Location) {
        if let Self::Objects(objects) = self
            && let Some(cache) = objects.cache()
        {
            cache.forget(location);
        }
    }

    /// Forgets all that is kept near.
    pub fn forget_all(&self) {
        if let Self::Objects(objects) = self
            && let Some(cache) = objects.cache()
        {
            cache.forget_all();
        }
    }

    /// What was counted of what is kept near; nothing if nothing is.
    pub fn cache_counts(&self) -> Option<CacheCounts> {
        match self {
            Self::Files(_) | Self::Moving(_) => None,
            Self::Objects(objects) => objects.cache().map(super::Cache::counts),
        }
    }

    /// Removes a blob that no record names, and its marker. That it is not there is no error.
    ///
    /// # Errors
    /// [`BlobsError`] if it is still there.
    pub async fn remove(&self, location: &Location) -> Result<(), BlobsError> {
        match self {
            Self::Files(files) => files.remove(location).await,
            Self::Objects(objects) => objects.remove(location).await,
            Self::Moving(moving) => Box::pin(moving.remove(location)).await,
        }
    }

    /// Removes what uploads left that failed while the store was away. To be called now and then.
    ///
    /// # Errors
    /// [`BlobsError`] if the store does not let it; it is tried again the next time.
    pub async fn remove_unsent(&self) -> Result<(), BlobsError> {
        match self {
            Self::Files(_) => Ok(()),
            Self::Objects(objects) => objects.remove_unsent().await,
            Self::Moving(moving) => Box::pin(moving.new_store().remove_unsent()).await,
        }
    }

    /// Aborts uploads in parts that were begun before this time, and never completed: of nodes that were killed. Returns how
    /// many there were.
    ///
    /// # Errors
    /// [`BlobsError`] if the store does not let it.
    pub async fn abort_unfinished(&self, before: Timestamp) -> Result<u64, BlobsError> {
        match self {
            Self::Files(_) => Ok(0),
            Self::Objects(objects) => objects.abort_unfinished(before).await,
            Self::Moving(moving) => {
                let new = Box::pin(moving.new_store().abort_unfinished(before)).await?;
                Ok(new + Box::pin(moving.old_store().abort_unfinished(before)).await?)
            }
        }
    }

    /// Removes what a crash left: temporary files, partial blobs other than those in `partial`, and blobs that
    /// `is_recorded` does not know.
    ///
    /// Call it before anything is received. Markers for which `is_recorded` fails are left for the next sweep.
    ///
    /// # Errors
    /// [`BlobsError`] if the folders cannot be listed or a blob cannot be removed; `E` if `is_recorded` fails.
    pub async fn sweep<E: From<BlobsError>>(
        &self,
        partial: HashSet<PartialName>,
        is_recorded: impl AsyncFn(&Location) -> Result<bool, E>,
    ) -> Result<Sweep, E> {
        let Self::Moving(moving) = self else { return self.sweep_one(partial, &is_recorded).await };
        let (new, old) = (moving.new_store(), moving.old_store());
        let new =
            if new.arrive_among_others() { Sweep::default() } else { new.sweep_one(partial, &is_recorded).await? };
        // Interrupted uploads do not move: they begin again.
        let old = if old.arrive_among_others() {
            Sweep::default()
        } else {
            old.sweep_one(HashSet::new(), &is_recorded).await?
        };
        Ok(Sweep {
            temporary: new.temporary + old.temporary,
            unrecorded: new.unrecorded + old.unrecorded,
            partial: new.partial + old.partial,
        })
    }

    /// Of one store.
    async fn sweep_one<E: From<BlobsError>>(
        &self,
        partial: HashSet<PartialName>,
        is_recorded: &impl AsyncFn(&Location) -> Result<bool, E>,
    ) -> Result<Sweep, E> {
        match self {
            Self::Files(files) => files.sweep(partial, is_recorded).await,
            Self::Objects(objects) => objects.sweep(partial, is_recorded).await,
            Self::Moving(_) => Ok(Sweep::default()),
        }
    }

    /// Writes, reads back and removes a few bytes.
    ///
    /// # Errors
    /// [`BlobsError`] for the step that failed.
    pub async fn probe(&self) -> Result<(), BlobsError> {
        match self {
            Self::Files(files) => files.probe().await,
            Self::Objects(objects) => objects.probe().await,
            Self::Moving(moving) => Box::pin(moving.probe()).await,
        }
    }

    /// Whether blobs can be written and read at the moment, as cheaply as that can be known.
    ///
    /// # Errors
    /// [`BlobsError`] for what does not work.
    pub async fn ready(&self) -> Result<(), BlobsError> {
        match self {
            Self::Files(files) => files.probe().await,
            Self::Objects(objects) => objects.ready().await,
            Self::Moving(moving) => Box::pin(moving.ready()).await,
        }
    }
}
