//! All blobs go from one store to another, while servers that know both serve them.
//!
//! Each is copied, its hash is taken, and only then it leaves the old store. A blob whose last record goes meanwhile must
//! not come back: the server removes it from both stores after that was committed, and who copies looks *after* the copy
//! whether there still is a record, and removes it from both if not. What is being copied is written down before, so that
//! the same holds for whoever is killed in between. It can be run again at any time, and goes on where it was.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tintype_storage::{
    blobs::{BlobsError, Brought, Location, Moving},
    records::{KeptBlob, KeptBlobs, Note, Records, RecordsError},
};

/// Blobs that are written down together.
const AT_ONCE: u32 = 64;

/// Blobs that are copied at the same time.
const TOGETHER: usize = 4;

/// Why it did not come to its end. What was done stays done.
#[derive(Debug, thiserror::Error)]
pub enum RelocateError {
    /// The records failed.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A store failed.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
    /// What was noted of an earlier run cannot be read.
    #[error("what is noted of an earlier run cannot be read: {0:?}")]
    Unreadable(String),
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relocated {
    /// All that there is to look at, that of earlier runs included.
    pub all: KeptBlobs,
    /// What was looked at.
    pub done: KeptBlobs,
    /// What was copied in this run.
    pub moved: KeptBlobs,
    /// Blobs that stay where they are, since their bytes are not those that were stored.
    pub damaged: Vec<Location>,
    /// Blobs that are in neither store.
    pub missing: Vec<Location>,
}

/// A move of all blobs.
#[derive(Debug)]
pub struct Relocation {
    records: Records,
    moving: Moving,
}

impl Relocation {
    /// Of the blobs of these records, between these stores.
    pub fn new(records: Records, moving: Moving) -> Self {
        Self { records, moving }
    }

    /// Moves everything, and tells `progress` how far it is after each blob.
    ///
    /// # Errors
    /// [`RelocateError`] if a store or the database fails; then it can be run again, and goes on.
    pub async fn run(&self, mut progress: impl FnMut(&Relocated)) -> Result<Relocated, RelocateError> {
        let mut after = self.settle().await?;
        let (all, left) = (self.records.count_kept_blobs(0).await?, self.records.count_kept_blobs(after).await?);
        let done =
            KeptBlobs { blobs: all.blobs - left.blobs.min(all.blobs), bytes: all.bytes - left.bytes.min(all.bytes) };
        let mut relocated = Relocated { all, done, ..Relocated::default() };
        loop {
            let blobs = self.records.kept_blobs(after, AT_ONCE).await?;
            let Some(last) = blobs.last() else { break };
            let next = last.id;
            self.write_down(after, &blobs).await?;
            let mut brought = stream::iter(&blobs)
                .map(|blob| async move { Ok::<_, RelocateError>((blob, self.bring(blob).await?)) })
                .buffer_unordered(TOGETHER);
            while let Some((blob, brought)) = brought.try_next().await? {
                relocated.count(blob, brought);
                progress(&relocated);
            }
            after = next;
        }
        // Whoever runs it again looks at everything again.
        self.records.note(Note::BlobsMoved, None).await?;
        Ok(relocated)
    }

    /// Brings one blob over. What no record names any more is removed.
    async fn bring(&self, blob: &KeptBlob) -> Result<Option<Brought>, RelocateError> {
        let brought = self.moving.bring(&blob.location, blob.size).await?;
        if !self.records.is_kept(&blob.location).await? {
            self.moving.drop_from_both(&blob.location).await?;
            return Ok(None);
        }
        if brought == Brought::Copied {
            self.moving.leave(&blob.location).await?;
        }
        Ok(Some(brought))
    }

    /// Before anything is copied: where to go on, and what may be half done by then.
    async fn write_down(&self, after: i64, blobs: &[KeptBlob]) -> Result<(), RelocateError> {
        let locations = blobs.iter().map(|blob| blob.location.as_str()).collect::<Vec<_>>();
        let text = format!("{after} {}", locations.join(" "));
        Ok(self.records.note(Note::BlobsMoved, Some(text)).await?)
    }

    /// Removes what an earlier run may have copied of what was deleted meanwhile. Returns after which blob to go on.
    async fn settle(&self) -> Result<i64, RelocateError> {
        let Some(text) = self.records.noted(Note::BlobsMoved).await? else { return Ok(0) };
        let unreadable = || RelocateError::Unreadable(text.clone());
        let mut words = text.split_whitespace();
        let after = words.next().and_then(|word| word.parse().ok()).ok_or_else(unreadable)?;
        for word in words {
            let location = Location::parse(word).ok_or_else(unreadable)?;
            if !self.records.is_kept(&location).await? {
                self.moving.drop_from_both(&location).await?;
            }
        }
        Ok(after)
    }
}

impl Relocated {
    fn count(&mut self, blob: &KeptBlob, brought: Option<Brought>) {
        let add = |sum: &mut KeptBlobs| {
            sum.blobs += 1;
            sum.bytes += blob.size;
        };
        add(&mut self.done);
        match brought {
            Some(Brought::Copied) => add(&mut self.moved),
            Some(Brought::Damaged) => self.damaged.push(blob.location.clone()),
            Some(Brought::Missing) => self.missing.push(blob.location.clone()),
            Some(Brought::Already) | None => {}
        }
    }
}

#[cfg(test)]
mod tests;
