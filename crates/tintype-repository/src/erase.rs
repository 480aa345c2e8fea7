//! Erasure: all that a user uploaded goes, for good.
//!
//! What is to be erased is written down first, by whoever asks: this server, or `tintype user erase` beside it. A server
//! that runs does it, since it alone knows what is remembered and read; a command does it only where none runs. Both do it
//! in steps, and what is interrupted goes on where it was.

use std::{sync::Arc, time::Duration};

use tintype_domain::{Clock, OwnedUserId, UserId};
use tintype_storage::{
    blobs::Blobs,
    records::{Erasure, Records, RecordsError},
};

use tokio::time::sleep;

use crate::{
    Repository, StorageError,
    background::Observed,
    sweep::{AFTER_A_FAILURE, remove_files},
};

/// Pieces of media erased in one transaction, so that other writes need not wait for long.
const AT_ONCE: u32 = 500;

/// How long after an account ended it is looked for uploads that were under way then. No longer: the account may be given
/// back.
const LATE: Duration = Duration::from_mins(10);

impl Repository {
    /// Erases all that a user uploaded, or reserved a URI for, soon and surely: when this returns it is written down, and it
    /// is done in the background, if need be after a restart.
    ///
    /// # Errors
    /// [`StorageError`] if the records fail; then nothing is erased.
    pub async fn erase(&self, user_id: &UserId) -> Result<(), StorageError> {
        self.0.records.request_erasure(user_id.to_owned(), self.0.clock.now()).await?;
        self.erase_soon();
        self.erase_again(user_id.to_owned());
        Ok(())
    }

    /// Whoever was let in before the account ended may still have been uploading. A restart ends that as well.
    fn erase_again(&self, user_id: OwnedUserId) {
        let observed: Observed = Arc::downgrade(&self.0);
        let alarm = self.0.clock.reaches(self.0.clock.now() + LATE);
        self.0.background.while_open(async move {
            alarm.await;
            let Some(inner) = observed.upgrade() else { return };
            if let Err(error) = Self(inner).erase_now(user_id).await {
                tracing::warn!(%error, "what a user uploaded while the account ended could not be erased");
            }
        });
    }

    /// Erases whoever is to be erased, in the background.
    pub(crate) fn erase_soon(&self) {
        let observed: Observed = Arc::downgrade(&self.0);
        self.0.background.while_open(async move {
            let Some(inner) = observed.upgrade() else { return };
            // Whoever is at it looks again before it ends.
            let Ok(_alone) = inner.erasing.try_lock() else { return };
            if let Err(error) = Self(Arc::clone(&inner)).erase_all().await {
                tracing::warn!(%error, "users could not be erased; it is tried again");
                sleep(AFTER_A_FAILURE).await;
            }
        });
    }

    async fn erase_all(&self) -> Result<(), StorageError> {
        loop {
            let due = self.0.records.erasures_due().await?;
            if due.is_empty() {
                return Ok(());
            }
            for user_id in due {
                self.erase_now(user_id.clone()).await?;
                self.report(&user_id).await?;
            }
        }
    }

    async fn erase_now(&self, user_id: OwnedUserId) -> Result<(), StorageError> {
        loop {
            let (repository, user) = (self.clone(), user_id.clone());
            // What is committed has to be noticed by those who read.
            let step = self.0.background.finish(async move {
                let removed = repository.0.records.erase(user, repository.0.clock.now(), AT_ONCE).await?;
                repository.removed(&removed).await;
                Ok::<_, StorageError>(removed.more)
            });
            if !step.await.unwrap_or(Err(RecordsError::Closed.into()))? {
                return Ok(());
            }
        }
    }

    async fn report(&self, user_id: &UserId) -> Result<(), StorageError> {
        self.0.metrics.erased();
        if let Some(erasure) = self.0.records.find_erasure(user_id).await? {
            tracing::info!(user = %user_id, media = erasure.media, bytes = erasure.bytes, "a user was erased");
        }
        Ok(())
    }
}

/// Erases all that a user uploaded where no server runs. The caller holds the lock of the folder of media.
///
/// # Errors
/// [`StorageError`] if records or blobs fail; what is left of it is done the next time, or by a server.
pub async fn erase_alone(
    records: &Records,
    blobs: &Blobs,
    user_id: &UserId,
    clock: &dyn Clock,
) -> Result<Erasure, StorageError> {
    loop {
        let removed = records.erase(user_id.to_owned(), clock.now(), AT_ONCE).await?;
        for partial in &removed.partials {
            blobs.remove_partial(partial).await?;
        }
        if !removed.more {
            break;
        }
    }
    // What cannot be removed now the next server tries again.
    // No server is running: nobody keeps anything.
    remove_files(records, blobs, |_| {}).await?;
    // Small media was in the database: nothing of it is to stay in its log.
    records.checkpoint().await?;
    Ok(records.find_erasure(user_id).await?.unwrap_or_default())
}
