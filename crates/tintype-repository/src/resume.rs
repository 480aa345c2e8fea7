//! Going on with an upload that was interrupted, as an extension: IETF draft "Resumable Uploads for HTTP".
//!
//! The URI that was reserved is also the draft's upload resource. Its sender may think a request dead that the server
//! still waits for; so whoever asks how far it came, goes on, or cancels, first ends a resumable request that is under
//! way. A plain `PUT` is never disturbed.

use std::{io::ErrorKind, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use tintype_domain::Mxc;
use tintype_storage::{
    blobs::{BlobsError, PartialName},
    records::{ClaimPartial, Reservation},
};

use crate::{
    BodyError, Caller, Completion, Elsewhere, FulfilError, Fulfilled, Hop, Kept, Repository, Resumable, StorageError,
    attempt::{Attempt, Labels},
    fulfil::Announced,
    rates::Action,
    receive::uploader,
};

/// How often a request that ended another one tries to take its place before somebody else does.
const TRIES: usize = 5;

/// How often a request is looked for that has claimed an upload and is not known yet; on a busy machine its task may take a
/// while to go on.
const LOOKS: usize = 400;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadProgress {
    /// So much of it is kept.
    Kept(Kept),
    /// It is whole, and recorded.
    Stored {
        /// Its length in bytes.
        size: u64,
    },
}

/// A request that goes on with an upload.
#[derive(Debug, Clone, Copy)]
pub struct Append {
    /// `Upload-Offset`: where it goes on.
    pub offset: u64,
    /// Whether the upload is whole then, and how long it will be.
    pub resumable: Resumable,
    /// Bytes of this request, if it says.
    pub content_length: Option<u64>,
}

impl Repository {
    /// How far the caller's upload has come. Ends a resumable request that is bringing it.
    ///
    /// # Errors
    /// A [`FulfilError`]; [`FulfilError::BeingReceived`] while a plain `PUT` brings it.
    pub async fn upload_progress(&self, caller: &Caller, mxc: &Mxc) -> Result<UploadProgress, FulfilError> {
        let user = uploader(caller)?;
        self.0.limiters.check(Action::Upload, caller)?;
        if !self.0.is_ours(mxc) {
            return Err(FulfilError::NotFound);
        }
        self.is_here(caller, mxc).await?;
        let mut looks = LOOKS;
        let reservation = loop {
            self.take_over(caller, mxc).await?;
            let mut reservation = self.0.records.find_reservation(mxc).await?;
            if let Some(found) = &mut reservation
                && !self.is_this_node(found.node)
                && self.living(found.node).await?.is_none()
            {
                // The node is gone that brought it, or kept it.
                (found.held, found.partial) = (false, None);
            }
            if let Some(found) = &reservation
                && let Some(elsewhere) = self.brought_elsewhere(caller, found).await?
            {
                // Another node has claimed it since it was looked for.
                return Err(FulfilError::Elsewhere(elsewhere));
            }
            looks -= 1;
            match &reservation {
                // A resumable request has just claimed it, and can be ended in a moment: as soon as its task has gone on.
                Some(found) if found.held && found.partial.is_some() && looks > 0 => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                _ => break reservation,
            }
        };
        let Some(reservation) = reservation else {
            let stored = self.find_stored(mxc).await?.ok_or(FulfilError::NotFound)?;
            let mine = stored.record().uploader.as_ref() == Some(&user.user_id);
            let size = stored.record().size;
            return if mine { Ok(UploadProgress::Stored { size }) } else { Err(FulfilError::NotTheCreator) };
        };
        if !reservation.held && reservation.expires_at <= self.0.clock.now() {
            return Err(FulfilError::NotFound);
        }
        if reservation.creator != user.user_id {
            return Err(FulfilError::NotTheCreator);
        }
        if reservation.held {
            return Err(FulfilError::BeingReceived);
        }
        if let Some(node) = self.living(reservation.node.filter(|_| reservation.partial.is_some())).await? {
            return Err(FulfilError::Elsewhere(self.elsewhere(node, None)));
        }
        let partial = reservation.partial.as_ref();
        Ok(UploadProgress::Kept(Kept {
            offset: partial.map_or(0, |partial| partial.size),
            length: partial.and_then(|partial| partial.length),
            expires_at: reservation.expires_at,
        }))
    }

    /// Goes on with the caller's upload.
    ///
    /// # Errors
    /// A [`FulfilError`]; [`FulfilError::WrongOffset`] if the upload is elsewhere.
    pub async fn append(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        append: Append,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Fulfilled, FulfilError> {
        let Append { offset, resumable, content_length } = append;
        match self.upload_progress(caller, mxc).await? {
            // The answer to the last request was lost, and it is repeated.
            UploadProgress::Stored { size }
                if size == offset && content_length == Some(0) && resumable.completion == Completion::Complete =>
            {
                return Ok(Fulfilled::Stored);
            }
            UploadProgress::Stored { .. } => return Err(FulfilError::AlreadyStored),
            UploadProgress::Kept(kept) if kept.offset != offset => {
                return Err(FulfilError::WrongOffset { expected: kept.offset, provided: offset });
            }
            UploadProgress::Kept(kept) => {
                let announced = Announced::of(offset, kept.length, content_length, resumable)?;
                self.check_size(uploader(caller)?, announced.length.or(announced.end)).await?;
            }
        }
        let held = self.hold(caller, mxc, ClaimPartial::Keep).await?;
        let partial = held.reservation.partial.clone();
        let (size, earlier) = partial.as_ref().map_or((0, None), |partial| (partial.size, partial.length));
        let (name, labels) = match partial {
            Some(partial) => (partial.name, Labels { content_type: partial.content_type, filename: partial.filename }),
            None => (PartialName::random(&*self.0.randomness), Labels::unknown()),
        };
        let mut attempt = Attempt::new(held, labels, earlier, Some(name));
        let announced = Announced::of(offset, earlier, content_length, resumable)?;
        if size != offset {
            // Another request came in between.
            return Err(FulfilError::WrongOffset { expected: size, provided: offset });
        }
        attempt.expect(announced.length);
        let brought = match attempt.resume(size).await {
            Ok(()) => self.bring(&mut attempt, announced, body).await,
            Err(error) if is_lost(&error) => Err(error.into()),
            // What is kept is still there, and may be opened another time.
            Err(error) => return Err(error.into()),
        };
        attempt.conclude(brought).await
    }

    /// Gives up what the caller's upload has brought. The URI stays reserved.
    ///
    /// # Errors
    /// A [`FulfilError`]; [`FulfilError::BeingReceived`] while a plain `PUT` brings it.
    pub async fn cancel_upload(&self, caller: &Caller, mxc: &Mxc) -> Result<(), FulfilError> {
        uploader(caller)?;
        self.0.limiters.check(Action::Upload, caller)?;
        self.is_here(caller, mxc).await?;
        self.take_over(caller, mxc).await?;
        let held = self.hold(caller, mxc, ClaimPartial::Replace(None)).await?;
        held.give_back(None).await;
        Ok(())
    }

    /// Looks whether this is the node that brings the caller's upload, or keeps what is there of it.
    ///
    /// # Errors
    /// [`FulfilError::Elsewhere`] if it is another one.
    async fn is_here(&self, caller: &Caller, mxc: &Mxc) -> Result<(), FulfilError> {
        if self.0.cluster.is_none() || caller.hop == Hop::Relayed {
            return Ok(());
        }
        let Some(reservation) = self.0.records.find_reservation(mxc).await? else { return Ok(()) };
        match self.brought_elsewhere(caller, &reservation).await? {
            Some(elsewhere) => Err(FulfilError::Elsewhere(elsewhere)),
            None => Ok(()),
        }
    }

    /// The other node that brings the caller's upload, or keeps what is there of it. A request that was handed on goes no
    /// further.
    async fn brought_elsewhere(&self, caller: &Caller, found: &Reservation) -> Result<Option<Elsewhere>, FulfilError> {
        let is_there = found.held || found.partial.is_some();
        if caller.hop == Hop::Relayed || !is_there || found.creator != uploader(caller)?.user_id {
            return Ok(None);
        }
        Ok(self.living(found.node).await?.map(|node| self.elsewhere(node, None)))
    }

    /// Ends a resumable request of the caller's that brings this upload, and waits until it has.
    async fn take_over(&self, caller: &Caller, mxc: &Mxc) -> Result<(), FulfilError> {
        for _ in 0..TRIES {
            let Some(running) = self.0.arrivals.running(mxc) else { break };
            let reservation = self.0.records.find_reservation(mxc).await?;
            let user = uploader(caller)?;
            if reservation.is_some_and(|reservation| reservation.creator != user.user_id) {
                return Err(FulfilError::NotTheCreator);
            }
            running.cut.cancel();
            tokio::select! {
                () = running.ended.cancelled() => {}
                () = self.0.clock.reaches(self.0.clock.now() + self.0.rules.max_wait) => {
                    return Err(FulfilError::BeingReceived);
                }
            }
        }
        Ok(())
    }
}

/// Whether what was kept of an upload is gone, or damaged.
fn is_lost(error: &StorageError) -> bool {
    let StorageError::Blobs(BlobsError::Io(error)) = error else { return false };
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof)
}
