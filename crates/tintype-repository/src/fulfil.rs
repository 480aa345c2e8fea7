//! An upload to a reserved URI: `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`.
//!
//! The reservation is claimed first, by one statement of the database, so that of two requests one brings the upload.
//! Then the bytes go to a file, from which downloads can be served while it grows; at the end the record takes the place
//! of the reservation. Whatever happens in between, the reservation is given back (see `held` and `attempt`), also
//! when the request is dropped in the middle.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tintype_domain::{Mxc, Timestamp};
use tintype_storage::{
    blobs::{BlobsError, PartialName},
    records::{ClaimPartial, RecordsError},
};

use crate::{
    BodyError, Caller, Elsewhere, RateLimited, ReceiveError, Repository, StorageError, Upload,
    attempt::{Attempt, Labels},
    rates::Action,
    receive::{check_labels, uploader},
};

/// When a client whose upload came second may try again.
pub const RETRY_WHILE_RECEIVING: Duration = Duration::from_secs(5);

/// What a request with `Upload-Complete` says of itself (IETF draft "Resumable Uploads for HTTP").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumable {
    /// Whether the upload is whole with this request.
    pub completion: Completion,
    /// `Upload-Length`: bytes of the whole upload.
    pub length: Option<u64>,
}

/// Whether an upload is whole with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// `Upload-Complete: ?1`
    Complete,
    /// `Upload-Complete: ?0`: more requests will follow.
    Incomplete,
}

/// What became of a request that brought an upload, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fulfilled {
    /// It is on stable storage, and recorded.
    Stored,
    /// So much of it is kept.
    Partly(Kept),
}

/// What is kept of an upload that is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Bytes that are kept.
    pub offset: u64,
    /// Bytes of the whole, if its sender said.
    pub length: Option<u64>,
    /// Until when they are kept.
    pub expires_at: Timestamp,
}

/// Why an upload to a reserved URI was refused.
#[derive(Debug, thiserror::Error)]
pub enum FulfilError {
    /// As any upload may be.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// Nobody reserved this URI, or it has expired.
    #[error("this URI was not made for an upload, or it has expired")]
    NotFound,
    /// Somebody else reserved it.
    #[error("this URI was made by another user")]
    NotTheCreator,
    /// It has content already.
    #[error("this URI has content already")]
    AlreadyStored,
    /// Another request brings its content.
    #[error("another upload to this URI is still arriving")]
    BeingReceived,
    /// Another request of the same sender goes on in place of this one.
    #[error("another request goes on with this upload")]
    TakenOver,
    /// Another node brings it, or keeps what is there of it.
    #[error("the upload is at another node")]
    Elsewhere(Elsewhere),
    /// The request goes on where the upload is not.
    #[error("the upload is at offset {expected}, not at {provided}")]
    WrongOffset {
        /// Bytes that are kept.
        expected: u64,
        /// What the request said.
        provided: u64,
    },
    /// What the sender says of the length contradicts itself, or what was sent.
    #[error("the lengths that were given of the upload do not agree: {0}")]
    InconsistentLength(String),
}

impl From<RateLimited> for FulfilError {
    fn from(limited: RateLimited) -> Self {
        Self::Receive(limited.into())
    }
}

impl From<RecordsError> for FulfilError {
    fn from(error: RecordsError) -> Self {
        Self::Receive(error.into())
    }
}

impl From<BlobsError> for FulfilError {
    fn from(error: BlobsError) -> Self {
        Self::Receive(error.into())
    }
}

impl From<StorageError> for FulfilError {
    fn from(error: StorageError) -> Self {
        Self::Receive(ReceiveError::Storage(error))
    }
}

impl FulfilError {
    /// Whether another request can go on with what has arrived.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self, Self::TakenOver | Self::Receive(ReceiveError::Body(BodyError::Broken(_) | BodyError::Stalled)))
    }
}

/// What is known of the body before it comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    /// Bytes of the whole upload.
    pub(crate) length: Option<u64>,
    /// Bytes of the upload after this request.
    pub(crate) end: Option<u64>,
    pub(crate) completion: Completion,
}

impl Announced {
    /// Puts together what a request says of lengths; `offset` bytes are there already, and earlier requests said
    /// `earlier` of the whole.
    pub(crate) fn of(
        offset: u64,
        earlier: Option<u64>,
        content_length: Option<u64>,
        resumable: Resumable,
    ) -> Result<Self, FulfilError> {
        let Resumable { completion, length } = resumable;
        let end = content_length.map(|content| offset.saturating_add(content));
        let whole = end.filter(|_| completion == Completion::Complete);
        let mut said = [earlier, length, whole].into_iter().flatten();
        let length = said.next();
        if let Some(other) = said.find(|other| Some(*other) != length) {
            let text = format!("{} and {other} bytes", length.unwrap_or_default());
            return Err(FulfilError::InconsistentLength(text));
        }
        if let Some(length) = length
            && end.unwrap_or(offset) > length
        {
            let end = end.unwrap_or(offset);
            return Err(FulfilError::InconsistentLength(format!("{length} bytes, and {end} are sent")));
        }
        Ok(Self { length, end, completion })
    }
}

impl Repository {
    /// Takes the upload for a reserved URI. With `resumable`, what has arrived is kept if it breaks off.
    ///
    /// # Errors
    /// A [`FulfilError`]. The reservation is free again, unless another request has it.
    pub async fn fulfil(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        upload: Upload,
        resumable: Option<Resumable>,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Fulfilled, FulfilError> {
        let user = uploader(caller)?;
        self.0.limiters.check(Action::Upload, caller)?;
        let plain = Resumable { completion: Completion::Complete, length: None };
        let announced = Announced::of(0, None, upload.content_length, resumable.unwrap_or(plain))?;
        check_labels(&upload)?;
        self.check_size(user, announced.length.or(announced.end)).await?;
        let labels = Labels { content_type: upload.content_type, filename: upload.filename };
        let name = resumable.map(|_| PartialName::random(&*self.0.randomness));
        let partial = name.clone().map(|name| labels.partial(name, 0, announced.length));
        // What an earlier, interrupted upload left is not part of this one.
        let held = self.hold(caller, mxc, ClaimPartial::Replace(partial)).await?;
        let mut attempt = Attempt::new(held, labels, announced.length, name);
        let brought = self.bring(&mut attempt, announced, body).await;
        attempt.conclude(brought).await
    }

    /// Takes the body of one request. Dropped at any moment, it leaves the attempt in order.
    pub(crate) async fn bring(
        &self,
        attempt: &mut Attempt,
        announced: Announced,
        mut body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Fulfilled, FulfilError> {
        let rules = &self.0.rules;
        let mut size = attempt.size();
        let cut = attempt.running().cut.clone();
        let life = attempt.life();
        let deleted = async || match &life {
            Some(life) => life.over().await,
            None => std::future::pending().await,
        };
        loop {
            // A small body that is all here needs no file. One that lingers does: somebody may be waiting for it.
            let lingers = attempt.lingers() && announced.length != Some(size);
            let chunk = match lingers.then(|| body.next().now_or_never()) {
                Some(Some(chunk)) => chunk,
                Some(None) => {
                    attempt.open_file().await?;
                    continue;
                }
                None => tokio::select! {
                    biased;
                    () = cut.cancelled() => return Err(FulfilError::TakenOver),
                    () = deleted() => return Err(FulfilError::NotFound),
                    chunk = body.next() => chunk,
                    written = attempt.catch_up() => {
                        written?;
                        continue;
                    }
                },
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(ReceiveError::from)?;
            size += chunk.len() as u64;
            if size > rules.max_upload_size {
                return Err(ReceiveError::TooLarge { limit: rules.max_upload_size }.into());
            }
            if announced.length.is_some_and(|length| size > length) {
                return Err(FulfilError::InconsistentLength("more bytes came than were announced".to_owned()));
            }
            attempt.write(chunk).await?;
        }
        match announced.completion {
            Completion::Complete if announced.length.is_some_and(|length| length != size) => {
                Err(FulfilError::InconsistentLength("fewer bytes came than were announced".to_owned()))
            }
            Completion::Complete => Ok(Fulfilled::Stored),
            Completion::Incomplete => Ok(Fulfilled::Partly(attempt.kept())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
