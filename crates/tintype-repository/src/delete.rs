//! `DELETE`: the owner of ephemeral media ends it (MSC4425).

use tintype_domain::Mxc;
use tintype_storage::records::{DeleteMedia, DeleteOutcome, Deleter, RecordsError};

use crate::{Caller, RateLimited, Repository, StorageError, rates::Action, sweep};

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Guests have no media.
    #[error("guests cannot delete media")]
    Guest,
    /// Too often.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// It was the caller's, and is gone already.
    #[error("this media was deleted already")]
    AlreadyDeleted,
    /// There is no ephemeral media of the caller's under this name. Whether there is other media is not said.
    #[error("there is no ephemeral media of yours under this URI")]
    Refused,
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<RecordsError> for DeleteError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(error.into())
    }
}

impl Repository {
    /// Deletes ephemeral media of the caller's; for administrators of its server, anybody's. Also what is only reserved or
    /// is still arriving, whose upload ends then.
    ///
    /// When this returns nothing of the media is given to anybody any more, and who was reading it is cut. The bytes are
    /// removed in the background.
    ///
    /// # Errors
    /// A [`DeleteError`].
    pub async fn delete(&self, caller: &Caller, mxc: &Mxc) -> Result<(), DeleteError> {
        let user = caller.requester.user().filter(|user| !user.guest).ok_or(DeleteError::Guest)?;
        self.0.limiters.check(Action::Ephemeral, caller)?;
        if !self.0.is_ours(mxc) {
            return Err(DeleteError::Refused);
        }
        let administers = user.admin && user.user_id.server_name() == mxc.server_name;
        let deleter = if administers { Deleter::Admin } else { Deleter::Owner(user.user_id.clone()) };
        let delete = DeleteMedia { mxc: mxc.clone(), deleter, now: self.0.clock.now() };
        let repository = self.clone();
        // To its end even if the client has gone: what is committed has to be noticed by those who read.
        let deleting = self.0.background.finish(async move { repository.delete_now(delete).await });
        deleting.await.unwrap_or(Err(RecordsError::Closed.into()))
    }

    async fn delete_now(&self, delete: DeleteMedia) -> Result<(), DeleteError> {
        let mxc = delete.mxc.clone();
        let outcome = self.0.records.delete_media(delete).await?;
        match outcome {
            DeleteOutcome::Refused => return Err(DeleteError::Refused),
            DeleteOutcome::AlreadyDeleted => {}
            DeleteOutcome::Deleted { .. } => self.0.metrics.deleted(1),
        }
        self.0.ended(&mxc);
        self.0.told().await;
        if let DeleteOutcome::Deleted { partial: Some(name) } = &outcome {
            self.discard_partial(name).await;
        }
        self.remove_soon();
        if outcome == DeleteOutcome::AlreadyDeleted { Err(DeleteError::AlreadyDeleted) } else { Ok(()) }
    }

    /// Removes files of what was deleted, without waiting for the next sweep.
    pub(crate) fn remove_soon(&self) {
        sweep::unneeded_soon(&self.0);
    }
}
