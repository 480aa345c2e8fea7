//! A copy of media (MSC3911): another name for the same bytes, restricted and attached to nothing, for whoever may see the
//! source.
//!
//! What belongs to one event cannot be attached to another; so who sends it again copies it first. No byte is moved, but
//! for those of another server's media that are not kept here yet.

use std::time::Duration;

use tintype_domain::{MediaId, Mxc, User};
use tintype_storage::records::{CopyMedia, CopyOutcome, MediaRecord, RecordsError};

use crate::{
    Caller, DownloadRequest, FromOrigin, OpenError, Opened, RateLimited, ReceiveError, RedactedMedia, Repository,
    StorageError, Wanted, elsewhere::LOOK_AGAIN, rates::Action, receive::uploader,
};

/// How often the source is looked at anew, where it changed between the look and the copy.
const LOOKS: usize = 3;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Guests do not upload, and a copy is an upload.
    #[error("guests cannot copy media")]
    Guest,
    /// Too often.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The source is not given to the caller.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source is ephemeral: a copy would outlive it.
    #[error("ephemeral media is not copied")]
    Ephemeral,
    /// The user's quota is reached.
    #[error("the user's storage quota is reached")]
    OverQuota {
        /// Where the user can read more.
        info_uri: Option<String>,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<RecordsError> for CopyError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(error.into())
    }
}

impl Repository {
    /// Copies media that the caller may see, and returns the name of the copy: of the caller's server and the caller's own,
    /// with the type and the name of the source. A source that is promised or arriving is waited for, no longer than
    /// `patience`.
    ///
    /// # Errors
    /// A [`CopyError`]; nothing was copied then.
    pub async fn copy(&self, caller: &Caller, source: &Mxc, patience: Duration) -> Result<Mxc, CopyError> {
        let user = uploader(caller).map_err(|_: ReceiveError| CopyError::Guest)?;
        self.0.limiters.check(Action::Upload, caller)?;
        let deadline = self.0.clock.now() + patience;
        for _ in 0..LOOKS {
            let left = deadline.since(self.0.clock.now());
            let request = DownloadRequest {
                wanted: Wanted::Whole,
                patience: left,
                from_origin: FromOrigin::Fetched,
                redacted: RedactedMedia::Hidden,
            };
            let mut opened = Box::pin(self.open(caller, source, request)).await;
            // What another node fetches is waited for, and copied here.
            while let Err(OpenError::Elsewhere(elsewhere)) = &opened {
                tokio::time::sleep(LOOK_AGAIN).await;
                opened = Box::pin(self.open_after(caller, source, request, elsewhere)).await;
            }
            let Opened::Stored(media) = opened? else { return Err(OpenError::NotYetUploaded.into()) };
            if media.record().lifetime.is_ephemeral() {
                return Err(CopyError::Ephemeral);
            }
            let copy = self.copy_of(source, media.record(), user);
            let mxc = copy.mxc.clone();
            match self.0.records.copy_media(copy).await? {
                CopyOutcome::Copied { .. } => {
                    self.0.metrics.copied();
                    return Ok(mxc);
                }
                CopyOutcome::OverQuota => {
                    return Err(CopyError::OverQuota { info_uri: self.0.rules.limit_info_uri.clone() });
                }
                // It is gone, or somebody else's to see: what is remembered of it is not true any more.
                CopyOutcome::Changed => self.0.media.invalidate(source),
            }
        }
        Err(OpenError::NotFound.into())
    }

    fn copy_of(&self, source: &Mxc, seen: &MediaRecord, user: &User) -> CopyMedia {
        let now = self.0.clock.now();
        CopyMedia {
            source: source.clone(),
            sha256: seen.sha256,
            audience: seen.audience.clone(),
            mxc: Mxc {
                server_name: user.user_id.server_name().to_owned(),
                media_id: MediaId::random(&*self.0.randomness),
            },
            uploader: user.user_id.clone(),
            created_at: now,
            unattached_until: self.0.unattached_until(user, now),
            quota: self.0.rules.quota,
        }
    }
}
