//! A URI for a later upload (MSC2246; client-server API, `POST /_matrix/media/v1/create`).

use std::time::Duration;

use tintype_domain::{MediaId, Mxc, OwnedServerName, Timestamp};
use tintype_storage::records::{InsertReservation, RecordsError, ReserveOutcome};

use crate::{
    Caller, RateLimited, ReceiveError, Repository, StorageError, UnrestrictedError, UploadKind, rates::Action,
    receive::uploader,
};

/// The longest that a client is asked to wait because it has too many reservations: one of them may be used at any
/// moment.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// A URI that waits for its upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The URI.
    pub mxc: Mxc,
    /// Until when the upload has to begin; not given where there is no limit.
    pub unused_expires_at: Option<Timestamp>,
}

/// What is to be reserved.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// The server whose URI it is.
    pub server_name: OwnedServerName,
    /// What is to become of the upload.
    pub kind: UploadKind,
}

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Only users upload, and not guests.
    #[error("guests cannot upload media")]
    Guest,
    /// Media that is for everybody is not taken (MSC3911).
    #[error(transparent)]
    Unrestricted(#[from] UnrestrictedError),
    /// Too often.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// Too many at once.
    #[error("{limit} URIs are waiting for their upload already: upload to one of them, or let it expire")]
    TooManyPending {
        /// How many there may be.
        limit: u64,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<RecordsError> for ReserveError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(error.into())
    }
}

impl Repository {
    /// Reserves a URI of this server for an upload by the caller.
    ///
    /// # Errors
    /// A [`ReserveError`]; nothing is reserved then.
    pub async fn reserve(&self, caller: &Caller, reservation: Reservation) -> Result<Reserved, ReserveError> {
        let Reservation { server_name, kind } = reservation;
        let creator = uploader(caller).map_err(|_: ReceiveError| ReserveError::Guest)?;
        self.0.limiters.check(Action::Create, caller)?;
        self.0.limiters.check_kind(kind, caller)?;
        Box::pin(self.check_kind(caller, creator, kind)).await?;
        let rules = &self.0.rules;
        let mxc = Mxc { server_name, media_id: MediaId::random(&*self.0.randomness) };
        let now = self.0.clock.now();
        let expires_at = rules.unused_expires_after.map(|lifetime| now + lifetime);
        let reservation = InsertReservation {
            mxc: mxc.clone(),
            creator: creator.user_id.clone(),
            created_at: now,
            expires_at: expires_at.unwrap_or(Timestamp::NEVER),
            max_pending: rules.max_pending_uploads,
            // It can be uploaded up to the last moment, and must not be gone then; the time begins anew with the upload.
            kind: self.0.kind(kind, creator, expires_at.unwrap_or(Timestamp::NEVER)),
        };
        let repository = self.clone();
        // Counted even if the client has gone.
        let reserving = self.0.background.finish(async move {
            let outcome = repository.0.records.reserve(reservation).await;
            if matches!(outcome, Ok(ReserveOutcome::Reserved)) {
                repository.0.metrics.reserved();
            }
            outcome
        });
        let failed = |error| StorageError::Blobs(std::io::Error::other(error).into());
        match reserving.await.map_err(|error| ReserveError::Storage(failed(error)))?? {
            ReserveOutcome::Reserved => Ok(Reserved { mxc, unused_expires_at: expires_at }),
            ReserveOutcome::TooManyPending { next_expiry } => Err(ReserveError::TooManyPending {
                limit: rules.max_pending_uploads,
                retry_after: next_expiry.since(now).min(LONGEST_RETRY),
            }),
        }
    }
}
