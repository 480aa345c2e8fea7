//! Why media of another server is not given, and for how long that is believed.

use std::{sync::Arc, time::Duration};

use tintype_federation::FetchError;
use tintype_storage::{blobs::BlobsError, records::RecordsError};

use crate::{Caller, Node, RateLimited, StorageError};

/// How long the origin's word is believed that it has no such media.
const ABSENT_FOR: Duration = Duration::from_mins(1);

/// How long it is remembered that media is larger than is taken: finding out may have cost a large transfer.
const TOO_LARGE_FOR: Duration = Duration::from_mins(10);

/// How long an answer that could not be used is not asked for again.
const UNUSABLE_FOR: Duration = Duration::from_secs(30);

/// Why media of another server is not given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemoteError {
    /// Its origin did not give it.
    #[error(transparent)]
    Origin(#[from] FetchError),
    /// It is larger than is taken from other servers.
    #[error("the media is larger than the {limit} bytes that are taken from other servers")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// As much is fetched as can be at once.
    #[error("too much is being fetched from other servers")]
    Busy,
    /// Its origin said something else meanwhile of whom it is for.
    #[error("its origin said two things of whom it is for")]
    Overruled,
    /// This server is asked too often.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// Another node fetches it.
    #[error("another node fetches it")]
    Elsewhere(Node),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// The storage failed.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl From<RecordsError> for RemoteError {
    fn from(error: RecordsError) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

impl From<BlobsError> for RemoteError {
    fn from(error: BlobsError) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

impl RemoteError {
    /// How long the same question gets the same answer without anybody being asked.
    pub(super) fn is_believed_for(&self) -> Option<Duration> {
        match self {
            Self::TooLarge { .. } | Self::Origin(FetchError::TooLarge) => Some(TOO_LARGE_FOR),
            Self::Origin(FetchError::NotFound) => Some(ABSENT_FOR),
            Self::Origin(FetchError::RateLimited { retry_after }) => {
                Some(retry_after.unwrap_or_default().clamp(Duration::from_secs(1), TOO_LARGE_FOR))
            }
            // The connections have a back-off of their own; whoever may not see linked media now may in a moment (MSC3911); and
            // everything else may be over then, too.
            Self::Origin(
                FetchError::NotAPeer
                | FetchError::NotYetUploaded
                | FetchError::Unreachable(_)
                | FetchError::Refused { status: 403, .. },
            )
            | Self::Busy
            | Self::RateLimited(_)
            | Self::Elsewhere(_)
            | Self::Overruled
            | Self::Stopping
            | Self::Storage(_) => None,
            Self::Origin(
                FetchError::Malformed(_)
                | FetchError::NoThumbnail
                | FetchError::Refused { .. }
                | FetchError::BrokenOff(_),
            ) => Some(UNUSABLE_FOR),
        }
    }
}

impl RemoteError {
    /// Whether it is told to this caller without the origin being asked again. An origin may not have linked media yet that
    /// a user sees the event of already (MSC3911): to users that something is not there is not told from memory. Nobody
    /// who comes without a token is given such media anyway.
    pub(super) fn is_believed_by(&self, caller: &Caller) -> bool {
        !matches!(self, Self::Origin(FetchError::NotFound)) || caller.requester.user().is_none()
    }
}
