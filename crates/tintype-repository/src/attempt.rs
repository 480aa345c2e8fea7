//! One request that brings an upload to a reservation, from its first byte to the moment it gives the reservation back.
//!
//! It ends in one of three ways: the upload is recorded, its bytes are kept for another request, or nothing of it is
//! left. Each of them runs in the background, so that it is done even if the client goes away; and an attempt that is
//! dropped in the middle, with its connection, ends in the second or the third.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tintype_domain::{Audience, ContentHash, Lifetime, Timestamp};
use tintype_storage::{
    blobs::{Incoming, PartialName},
    records::{Basis, Body, Fulfil, InsertMedia, InsertOutcome, MediaKind, NewAudience, NewBlob, Partial},
};

use crate::{
    FulfilError, Fulfilled, Kept, StorageError,
    arrivals::{Arriving, Running},
    background::Observed,
    held::Held,
    lives::Life,
    receive::audience_of,
};

/// What the sender says of the body.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    pub(crate) content_type: Vec<u8>,
    pub(crate) filename: Option<String>,
}

impl Labels {
    /// Those of a body of which its sender said nothing.
    pub(crate) fn unknown() -> Self {
        Self { content_type: b"application/octet-stream".to_vec(), filename: None }
    }

    /// So many bytes of an upload with these labels.
    pub(crate) fn partial(&self, name: PartialName, size: u64, length: Option<u64>) -> Partial {
        let Self { content_type, filename } = self.clone();
        Partial { name, size, length, content_type, filename }
    }
}

/// A request that holds a reservation.
pub(crate) struct Attempt(Option<State>);

struct State {
    held: Held,
    labels: Labels,
    length: Option<u64>,
    /// Where the bytes are kept if the upload is interrupted; without it they are not.
    kept_as: Option<PartialName>,
    /// Bytes that need no file yet.
    small: BytesMut,
    incoming: Option<Incoming>,
    readable: Readable,
    brought: Brought,
    /// The life of what may end: it may be deleted before it is whole.
    life: Option<Life>,
}

/// Whether a request has brought anything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Nothing,
    Something,
}

/// Whether downloads read what a request writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    NotYet,
    Yes,
    /// The file could not be opened a second time: they wait for the whole.
    Never,
}

impl Attempt {
    /// Begins with nothing.
    pub(crate) fn new(held: Held, labels: Labels, length: Option<u64>, kept_as: Option<PartialName>) -> Self {
        let may_end = held.reservation.kind != MediaKind::Kept;
        let life = may_end.then(|| held.repository().0.lives.enter(&held.mxc));
        if let Some(life) = &life {
            life.rests_on(Basis::Arriving);
        }
        Self(Some(State {
            life,
            held,
            labels,
            length,
            kept_as,
            small: BytesMut::new(),
            incoming: None,
            readable: Readable::NotYet,
            brought: Brought::Nothing,
        }))
    }

    /// So many bytes there will be in all, if that is known.
    pub(crate) fn expect(&mut self, length: Option<u64>) {
        self.state().length = length;
    }

    /// Goes on with the bytes that an earlier request has left, of which there are `size`.
    pub(crate) async fn resume(&mut self, size: u64) -> Result<(), StorageError> {
        let state = self.state();
        let repository = state.held.repository().clone();
        if let Some(name) = state.kept_as.clone() {
            state.incoming = Some(repository.0.blobs.resume(&name, size).await?);
        }
        if let Some(arriving) = repository.0.arrivals.arriving(&state.held.mxc)
            && let Some(incoming) = &mut state.incoming
        {
            // Those who read before the interruption read on.
            incoming.report_to(Arc::clone(&arriving.growing)).await?;
            state.readable = Readable::Yes;
        } else if size > 0 {
            state.let_read().await;
        }
        Ok(())
    }

    /// Bytes that have come, those of earlier requests included.
    pub(crate) fn size(&mut self) -> u64 {
        let state = self.state();
        state.small.len() as u64 + state.incoming.as_ref().map_or(0, Incoming::size)
    }

    /// What is kept so far.
    pub(crate) fn kept(&mut self) -> Kept {
        let offset = self.size();
        let state = self.state();
        Kept { offset, length: state.length, expires_at: state.held.reservation.expires_at }
    }

    /// The life of what is brought, if it will be ephemeral.
    pub(crate) fn life(&mut self) -> Option<Life> {
        self.state().life.clone()
    }

    /// Cancelled when another request wants to go on with the upload.
    pub(crate) fn running(&mut self) -> Running {
        self.state().held.running.clone()
    }

    /// Whether there are bytes in memory that somebody could read if they were in a file.
    pub(crate) fn lingers(&mut self) -> bool {
        let state = self.state();
        state.held.repository().0.rules.stream && state.incoming.is_none() && !state.small.is_empty()
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        let state = self.state();
        let fits = state.small.len() + bytes.len() <= state.held.repository().0.rules.gathered_size;
        if state.incoming.is_none() && state.kept_as.is_none() && fits {
            state.small.extend_from_slice(&bytes);
            return Ok(());
        }
        state.open_file().await?;
        if state.kept_as.is_some() && state.brought == Brought::Nothing && !bytes.is_empty() {
            state.brought = Brought::Something;
            state.held.repository().0.arrivals.brought(&state.held.mxc);
        }
        if let Some(incoming) = &mut state.incoming {
            incoming.write(bytes).await?;
        }
        state.let_read().await;
        Ok(())
    }

    /// Puts what is in memory into a file, and lets it be read.
    pub(crate) async fn open_file(&mut self) -> Result<(), StorageError> {
        let state = self.state();
        state.open_file().await?;
        state.let_read().await;
        Ok(())
    }

    /// Writes what readers wait for; returns when more is written, and never where nobody could read it.
    pub(crate) async fn catch_up(&mut self) -> Result<(), StorageError> {
        match self.state() {
            State { incoming: Some(incoming), readable: Readable::Yes, .. } => Ok(incoming.catch_up().await?),
            _ => std::future::pending().await,
        }
    }

    /// Ends the attempt as what it brought demands, and returns when that is done.
    pub(crate) async fn conclude(mut self, brought: Result<Fulfilled, FulfilError>) -> Result<Fulfilled, FulfilError> {
        let state = self.0.take().expect("an attempt is concluded once");
        let background = state.held.repository().0.background.clone();
        let concluded = background.finish(async move {
            match brought {
                Ok(Fulfilled::Stored) => state.store().await.map(|()| Fulfilled::Stored),
                Ok(Fulfilled::Partly(kept)) => state.keep().await.map(|()| Fulfilled::Partly(kept)),
                Err(error) if error.is_interruption() => state.keep().await.and(Err(error)),
                Err(error) => {
                    state.give_up().await;
                    Err(error)
                }
            }
        });
        concluded.await.unwrap_or_else(|error| Err(StorageError::Blobs(std::io::Error::other(error).into()).into()))
    }

    fn state(&mut self) -> &mut State {
        self.0.as_mut().expect("an attempt is not used after it was concluded")
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            let background = state.held.repository().0.background.clone();
            background.finish(async move {
                if let Err(error) = state.keep().await {
                    tracing::warn!(%error, "what an interrupted upload brought could not be kept");
                }
            });
        }
    }
}

impl State {
    async fn open_file(&mut self) -> Result<(), StorageError> {
        if self.incoming.is_some() {
            return Ok(());
        }
        let blobs = &self.held.repository().0.blobs;
        let mut incoming = match &self.kept_as {
            Some(name) => blobs.receive_partial(name).await?,
            None => blobs.receive().await?,
        };
        incoming.write(std::mem::take(&mut self.small).freeze()).await?;
        self.incoming = Some(incoming);
        Ok(())
    }

    /// Lets downloads read what arrives, and wakes those that wait for it.
    async fn let_read(&mut self) {
        let repository = self.held.repository().clone();
        let inner = &repository.0;
        let Some(incoming) = &mut self.incoming else { return };
        if self.readable != Readable::NotYet || !inner.rules.stream {
            return;
        }
        let growing = match inner.blobs.grow(incoming, self.length).await {
            Ok(growing) => growing,
            Err(error) => {
                tracing::warn!(%error, media = %self.held.mxc, "an upload cannot be read while it arrives");
                self.readable = Readable::Never;
                return;
            }
        };
        let mut attempt = [0; 8];
        inner.randomness.fill(&mut attempt);
        let Labels { content_type, filename } = self.labels.clone();
        let (attempt, life) = (u64::from_ne_bytes(attempt), self.life.clone());
        let (lifetime, audience) = match self.held.reservation.kind {
            MediaKind::Kept => (Lifetime::Kept, Audience::Everyone),
            MediaKind::Ephemeral => (Lifetime::Ephemeral { expires_at: Timestamp::NEVER }, Audience::Everyone),
            MediaKind::Restricted { .. } => (Lifetime::Kept, Audience::Uploader),
        };
        let arriving = Arc::new(Arriving { content_type, filename, attempt, growing, lifetime, audience, life });
        inner.arrivals.can_be_read(&self.held.mxc, &arriving);
        if self.life.as_ref().is_some_and(Life::is_over) {
            // It was deleted while this was made ready; who has seen it meanwhile is told by its life.
            inner.arrivals.broke_off(&self.held.mxc);
        }
        inner.call_for_beginning(&self.held.mxc);
        self.readable = Readable::Yes;
    }

    /// Records the upload in place of its reservation.
    async fn store(mut self) -> Result<(), FulfilError> {
        let stored = self.record().await;
        match stored {
            Ok(()) => {
                let inner = &self.held.repository().0;
                // Whoever is woken now finds the record without asking the database.
                if let Err(error) = self.held.repository().find_stored(&self.held.mxc).await {
                    tracing::warn!(%error, "an upload was recorded and could not be read back");
                }
                if let Some(name) = &self.kept_as {
                    // Of a small upload the bytes are in the records now; a large one has another name.
                    self.held.repository().discard_partial(name).await;
                }
                inner.arrivals.finished(&self.held.mxc);
                inner.metrics.fulfilled();
                inner.call(&self.held.mxc);
                self.held.fulfilled();
            }
            Err(_) => self.give_up().await,
        }
        stored
    }

    /// Who may see it was recorded with the reservation; how long restricted media waits to be attached begins now.
    fn audience(&self) -> NewAudience {
        let inner = &self.held.repository().0;
        audience_of(match self.held.reservation.kind {
            MediaKind::Restricted { unattached_until } if unattached_until != Timestamp::NEVER => {
                MediaKind::Restricted { unattached_until: inner.ends_unattached(inner.clock.now()) }
            }
            kind => kind,
        })
    }

    async fn record(&mut self) -> Result<(), FulfilError> {
        if self.small.len() > self.held.repository().0.rules.inline_size {
            self.open_file().await?;
        }
        let inner = &self.held.repository().0;
        let (blob, location) = match self.incoming.take() {
            Some(incoming) if incoming.size() > inner.rules.inline_size as u64 => {
                let hashed = incoming.finish().await?;
                let (sha256, size) = (hashed.sha256, hashed.size);
                let location = inner.blobs.publish(hashed).await?;
                (NewBlob { sha256, size, body: Body::At(location.clone()) }, Some(location))
            }
            incoming => {
                let bytes = match incoming {
                    Some(incoming) => incoming.into_bytes().await?,
                    None => std::mem::take(&mut self.small).freeze(),
                };
                let (sha256, size) = (ContentHash::of(&bytes), bytes.len() as u64);
                (NewBlob { sha256, size, body: Body::Inline(bytes) }, None)
            }
        };
        let size = blob.size;
        let media = InsertMedia {
            mxc: self.held.mxc.clone(),
            blob,
            content_type: self.labels.content_type.clone(),
            filename: self.labels.filename.clone(),
            uploader: self.held.reservation.creator.clone(),
            created_at: inner.clock.now(),
            quota: inner.rules.quota,
            lifetime: inner.lifetime_of(self.held.reservation.kind),
            audience: self.audience(),
        };
        let outcome = inner.records.fulfil(Fulfil { holder: self.held.holder(), media }).await;
        if let Some(location) = &location {
            match &outcome {
                Ok(Some(InsertOutcome::Inserted)) => inner.blobs.recorded(location).await,
                Ok(_) => self.held.repository().discard(location).await,
                Err(_) => self.held.repository().discard_if_unrecorded(location).await,
            }
        }
        let Some(outcome) = outcome? else { return Err(self.held.lost().await?) };
        Ok(self.held.repository().conclude(&outcome, size)?)
    }

    /// Keeps what has come for another request, if that was wanted; else as [`State::give_up`].
    async fn keep(mut self) -> Result<(), FulfilError> {
        let Some(name) = self.kept_as.clone() else {
            self.give_up().await;
            return Ok(());
        };
        let Some(incoming) = self.incoming.take() else {
            // Nothing came, or what was there was not opened: what is recorded of it is still so.
            self.let_go_later();
            drop(self.held);
            return Ok(());
        };
        let paused = incoming.pause().await.map_err(StorageError::from);
        let size = match paused {
            Ok(size) => size,
            Err(error) => {
                self.give_up().await;
                return Err(error.into());
            }
        };
        self.let_go_later();
        self.held.give_back(Some(self.labels.partial(name, size, self.length))).await;
        Ok(())
    }

    /// Leaves nothing of the upload.
    async fn give_up(mut self) {
        self.held.repository().0.arrivals.broke_off(&self.held.mxc);
        // Its file goes with it.
        self.incoming = None;
        if let Some(name) = &self.kept_as {
            self.held.repository().discard_partial(name).await;
        }
        self.held.give_back(None).await;
    }

    /// Readers of an interrupted upload wait for its rest, but not for ever.
    fn let_go_later(&self) {
        let inner = &self.held.repository().0;
        let Some(interruption) = inner.arrivals.interrupted(&self.held.mxc) else { return };
        let until = self.held.reservation.expires_at.min(inner.clock.now() + inner.rules.max_wait);
        let (alarm, mxc) = (inner.clock.reaches(until), self.held.mxc.clone());
        let observed: Observed = Arc::downgrade(inner);
        inner.background.while_open(async move {
            alarm.await;
            if let Some(inner) = observed.upgrade() {
                inner.arrivals.give_up(&mxc, interruption);
            }
        });
    }
}
