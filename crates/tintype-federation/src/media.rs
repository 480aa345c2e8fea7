//! Media as another server gives it, and why it does not.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Map, Value};
use tintype_domain::{Mxc, ServerName};

use crate::OutboundError;

/// What is asked of the server that some media was uploaded to.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The media.
    pub mxc: &'a Mxc,
    /// Which of its responses.
    pub kind: QuestionKind,
    /// Which of our servers asks, and signs.
    pub asker: &'a ServerName,
    /// How long the origin may wait for media that was promised (`timeout_ms`).
    pub patience: Duration,
}

/// The media itself, or a thumbnail of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// The media itself.
    Download,
    /// A thumbnail.
    Thumbnail {
        /// The least width wanted, in pixels.
        width: u32,
        /// The least height wanted, in pixels.
        height: u32,
        /// `scale` or `crop`.
        method: &'static str,
    },
}

/// Media of another server, whose bytes are about to come.
pub struct RemoteMedia {
    /// Its type, as the origin gave it.
    pub content_type: Option<Vec<u8>>,
    /// Its file name.
    pub filename: Option<String>,
    /// Its length in bytes, if the origin stated that of the media (and not only of what it is wrapped in).
    pub content_length: Option<u64>,
    /// The first part of the answer (server-server API, "Content Repository"); empty where the old endpoints answered.
    pub metadata: Map<String, Value>,
    /// Its bytes.
    pub body: RemoteBody,
}

impl std::fmt::Debug for RemoteMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteMedia").field("content_length", &self.content_length).finish_non_exhaustive()
    }
}

/// The bytes of media of another server. It ends without an error only if all of them came.
pub struct RemoteBody(Pin<Box<dyn Stream<Item = Result<Bytes, FetchError>> + Send>>);

impl RemoteBody {
    pub(crate) fn new(stream: impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for RemoteBody {
    type Item = Result<Bytes, FetchError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

/// Why the origin did not give its media.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// It is not among the servers that are spoken with.
    #[error("this server is not spoken with")]
    NotAPeer,
    /// It has no such media.
    #[error("the origin has no such media")]
    NotFound,
    /// It promised the media, which did not come in time.
    #[error("the media has not been uploaded to its origin yet")]
    NotYetUploaded,
    /// It says that the media is too large.
    #[error("the origin says that the media is too large")]
    TooLarge,
    /// It asks us to come less often.
    #[error("the origin is asked too often")]
    RateLimited {
        /// When it may be asked again, if it says.
        retry_after: Option<Duration>,
    },
    /// It does not make this thumbnail.
    #[error("the origin does not make this thumbnail")]
    NoThumbnail,
    /// It refuses, or fails.
    #[error("the origin answered with status {status}{}", .errcode.as_deref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Refused {
        /// The status.
        status: u16,
        /// The error code, if it gave one.
        errcode: Option<String>,
    },
    /// It cannot be reached.
    #[error("the origin cannot be reached: {0}")]
    Unreachable(#[from] OutboundError),
    /// What it answers is not what the specification says.
    #[error("the origin's answer is not understood: {0}")]
    Malformed(String),
    /// Its answer broke off, or stopped coming.
    #[error("the origin's answer broke off: {0}")]
    BrokenOff(String),
}

impl FetchError {
    /// What a client may know of it: not where names lead from here, and what listens there.
    pub fn outline(&self) -> String {
        match self {
            Self::Unreachable(_) => "it cannot be reached".to_owned(),
            Self::Malformed(_) => "its answer is not understood".to_owned(),
            Self::BrokenOff(_) => "its answer broke off".to_owned(),
            error => error.to_string(),
        }
    }
}
