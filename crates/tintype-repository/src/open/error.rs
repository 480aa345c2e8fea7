//! Why media is not given out, and what follows from bytes that are not where the record says.

use std::{sync::Arc, time::Duration};

use tintype_federation::FetchError;
use tintype_homeserver::Refusal;
use tintype_storage::{blobs::BlobsError, records::RecordsError};

use crate::{
    Elsewhere, RateLimited, StorageError,
    remote::{Lost, RemoteError},
};

/// Why media was not given out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Too many downloads.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// There is no such media here, or not for this requester: the two are not told apart.
    #[error("media not found")]
    NotFound,
    /// It is frozen for those who come without a token: to them it is not there.
    #[error("media not found")]
    Frozen,
    /// It is restricted, and the requester may not see what it is attached to (MSC3911).
    #[error("the media is not visible to you")]
    NotVisible,
    /// Its event was redacted: the requester may see the event, but not what was redacted of it.
    #[error("the media was redacted, and is shown only to those who may redact in its room")]
    RedactedForOthers,
    /// Nobody can say at the moment whether the requester may see it.
    #[error("it cannot be decided who may see the media: {0}")]
    Undecided(String),
    /// The homeserver does not accept the requester's token, in its own words.
    #[error("the homeserver refuses the access token")]
    TokenRefused(Refusal),
    /// It is another server's, with which none of ours speaks.
    #[error("there is no media from this server")]
    NotAPeer,
    /// It is another server's, and too large.
    #[error("the media is too large to be taken from its server")]
    TooLarge,
    /// It is another server's, which did not give it.
    #[error("the media's server did not give it: {0}")]
    OriginFailed(String),
    /// It was promised, and did not come in time.
    #[error("the media has not been uploaded yet")]
    NotYetUploaded,
    /// It arrives at another node, or is fetched there.
    #[error("the media is at another node")]
    Elsewhere(Elsewhere),
    /// Another node has sent the request here, and there is nothing of it here.
    #[error("there is nothing of the media at this node")]
    Misdirected,
    /// The storage failed.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl From<RecordsError> for OpenError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

impl From<BlobsError> for OpenError {
    fn from(error: BlobsError) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

/// What a client is told of a server that asks us to come less often, without saying when to come again.
const RETRY_ORIGIN: Duration = Duration::from_secs(10);

/// What a client is told when as much is being fetched as can be.
const RETRY_WHEN_BUSY: Duration = Duration::from_secs(2);

impl From<RemoteError> for OpenError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Origin(FetchError::NotAPeer) => Self::NotAPeer,
            RemoteError::Origin(FetchError::NotFound) => Self::NotFound,
            // None of our users may see what it is attached to (MSC3911).
            RemoteError::Origin(FetchError::Refused { status: 403, errcode: Some(errcode) })
                if errcode == "M_UNAUTHORIZED" =>
            {
                Self::NotVisible
            }
            // What stops will be asked again as what did not come in time. Who can go elsewhere was told before.
            RemoteError::Origin(FetchError::NotYetUploaded) | RemoteError::Stopping | RemoteError::Elsewhere(_) => {
                Self::NotYetUploaded
            }
            RemoteError::Origin(FetchError::TooLarge) | RemoteError::TooLarge { .. } => Self::TooLarge,
            RemoteError::Origin(FetchError::RateLimited { retry_after }) => {
                Self::RateLimited(RateLimited { retry_after: retry_after.unwrap_or(RETRY_ORIGIN) })
            }
            RemoteError::Origin(error) => Self::OriginFailed(error.outline()),
            error @ RemoteError::Overruled => Self::OriginFailed(error.to_string()),
            RemoteError::Busy => Self::RateLimited(RateLimited { retry_after: RETRY_WHEN_BUSY }),
            RemoteError::RateLimited(limited) => Self::RateLimited(limited),
            RemoteError::Storage(error) => Self::Storage(error),
        }
    }
}

/// Bytes that were not there when they were to be read, and what is thought of them.
#[derive(Debug)]
pub struct Missing {
    pub(crate) error: BlobsError,
    pub(crate) lost: Lost,
}

/// How often the bytes of one request were not there.
#[derive(Debug, Default)]
pub struct Misses(Option<Lost>);

impl Misses {
    /// What is thought of it that they could not be read, this time.
    ///
    /// # Errors
    /// The error, if there is no use in looking again.
    pub fn next(&mut self, error: BlobsError) -> Result<Missing, OpenError> {
        let lost = match (&error, self.0) {
            (BlobsError::NotFound(_), None) => Lost::Perhaps,
            (BlobsError::NotFound(_), Some(Lost::Perhaps)) => Lost::Certainly,
            _ => return Err(error.into()),
        };
        self.0 = Some(lost);
        Ok(Missing { error, lost })
    }
}

impl StorageError {
    /// Whether the bytes were removed between the look at their record and the opening of their file.
    pub(crate) fn is_removed(&self) -> bool {
        matches!(self, Self::Blobs(BlobsError::NotFound(_)))
    }
}
