//! A download: may the requester have it, is it there yet, and where are its bytes?
//!
//! Media that was promised is waited for. Whoever waits has looked before, and looks again each time something happens
//! to it (see `waiting`): the records and the arrivals say what is so, the call only says that it may have changed.

mod error;

use std::{sync::Arc, time::Duration};

use tintype_domain::{Audience, Mxc, Requester, Timestamp};
use tintype_storage::{
    blobs::{Blob, BlobsError, Location},
    records::{Basis, Body, FoundMedia, MediaKind, MediaRecord, RecordsError, RemoteKey, Reservation},
};
use tokio::time::sleep;

pub use self::error::{Misses, Missing, OpenError};
use crate::{
    Arriving, Caller, Elsewhere, Hop, Node, Repository,
    content::{Content, GrowingContent, living},
    elsewhere::LOOK_AGAIN,
    lives::Life,
    rates::Action,
    remote::{FromOrigin, Lost, Remote, original},
    thumbnail::CachedThumbnail,
    visibility::{Admission, RedactedMedia, Restriction},
    waiting::{Wanted, Woken},
};

/// A piece of media that the caller may have.
#[derive(Debug, Clone)]
pub struct OpenedMedia {
    /// What is known of it.
    pub record: Arc<CachedMedia>,
    /// Its bytes.
    pub content: Content,
}

impl OpenedMedia {
    /// What is known of it.
    pub fn record(&self) -> &MediaRecord {
        self.record.record()
    }
}

/// What a download asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadRequest {
    /// What has to be there before it is answered.
    pub wanted: Wanted,
    /// How long it waits for that.
    pub patience: Duration,
    /// Whether media of other servers is fetched for it.
    pub from_origin: FromOrigin,
    /// What is wanted of media whose event was redacted.
    pub redacted: RedactedMedia,
}

/// Media that the caller may have, of which there is at least a beginning.
#[derive(Debug, Clone)]
pub enum Opened {
    /// All of it.
    Stored(OpenedMedia),
    /// What has arrived, and then what comes.
    Arriving(OpenedArriving),
}

/// Media that is still arriving.
#[derive(Debug, Clone)]
pub struct OpenedArriving {
    /// What is known of it.
    pub arriving: Arc<Arriving>,
    /// Whom it is for.
    pub audience: Audience,
    /// Its bytes.
    pub content: GrowingContent,
    mxc: Mxc,
    caller: Caller,
    /// Until when the caller wants to wait for the first of them.
    deadline: Timestamp,
}

/// A record as it is remembered, with its bytes if they are few.
#[derive(Debug)]
pub struct CachedMedia {
    record: MediaRecord,
    pub(crate) body: Body,
    /// Which response of another server it is; none for media of ours.
    remote: Option<RemoteKey>,
    /// Its life, if it may end.
    pub(crate) life: Option<Life>,
}

impl CachedMedia {
    /// Media of ours.
    fn ours(found: FoundMedia, life: Option<Life>) -> Self {
        Self { record: found.record, body: found.body, remote: None, life }
    }

    /// A response of another server that is kept here.
    pub(crate) fn kept(key: RemoteKey, found: FoundMedia, life: Option<Life>) -> Self {
        Self { record: found.record, body: found.body, remote: Some(key), life }
    }

    /// What is known of it.
    pub(crate) fn record(&self) -> &MediaRecord {
        &self.record
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.record.size
    }

    /// Its length in bytes, if nobody can take it away at once: then its bytes may be kept near.
    pub(crate) fn lasting(&self) -> Option<u64> {
        let MediaRecord { lifetime, audience, size, .. } = &self.record;
        let lasts = self.life.is_none() && !lifetime.is_ephemeral() && *audience == Audience::Everyone;
        lasts.then_some(*size)
    }

    /// Itself, served as a thumbnail of this type.
    pub(crate) fn as_its_own_thumbnail(&self, content_type: &'static str) -> CachedThumbnail {
        let MediaRecord { sha256, size, created_at, lifetime, .. } = self.record;
        let restriction = Restriction::of(&self.record);
        CachedThumbnail { content_type, sha256, size, body: self.body.clone(), created_at, lifetime, restriction }
    }

    /// Bytes of its body that are held in memory.
    pub(crate) fn body_in_memory(&self) -> usize {
        in_memory(&self.body)
    }
}

pub(crate) fn in_memory(body: &Body) -> usize {
    match body {
        Body::Inline(bytes) => bytes.len(),
        Body::At(_) => 0,
    }
}

/// What there is of some media.
enum Found {
    /// All of it.
    Stored(Arc<CachedMedia>),
    /// Some of it.
    Arriving(Arc<Arriving>),
    /// A promise.
    Reserved(Promise),
    /// Nothing.
    Nothing,
}

/// Media that was promised.
struct Promise {
    /// It holds until this time at least.
    until: Timestamp,
    /// The other node at which there may be a beginning of it.
    at: Option<Node>,
    /// What it will be.
    kind: MediaKind,
}

/// What the caller may have of some media.
enum Admitted {
    /// All of it.
    Stored(Arc<CachedMedia>),
    /// Some of it, and for whom it is.
    Arriving(Arc<Arriving>, Audience),
    /// A promise that did not hold in time.
    Reserved,
    /// Nothing.
    Nothing,
}

impl Repository {
    /// Opens media for the caller. Media that was promised is waited for, no longer than is asked for, until there is what
    /// is wanted of it.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub async fn open(&self, caller: &Caller, mxc: &Mxc, request: DownloadRequest) -> Result<Opened, OpenError> {
        self.0.limiters.check(Action::Download, caller)?;
        self.open_until(caller, mxc, request, self.deadline(request.patience), None).await
    }

    /// The same for a caller who was sent to another node, where there was nothing of it.
    ///
    /// # Errors
    /// An [`OpenError`]; it may be elsewhere again.
    pub async fn open_after(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: DownloadRequest,
        earlier: &Elsewhere,
    ) -> Result<Opened, OpenError> {
        self.pause(earlier).await;
        let deadline = self.0.clock.now() + self.patience_left(earlier).unwrap_or(request.patience);
        match Box::pin(self.open_until(caller, mxc, request, deadline, Some(earlier))).await {
            Err(OpenError::Elsewhere(found)) => {
                Err(self.still_elsewhere(found, earlier).map_or(OpenError::NotYetUploaded, OpenError::Elsewhere))
            }
            outcome => outcome,
        }
    }

    async fn open_until(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: DownloadRequest,
        deadline: Timestamp,
        earlier: Option<&Elsewhere>,
    ) -> Result<Opened, OpenError> {
        let mut outcome = self.open_by(caller, mxc, request, deadline, earlier).await;
        for lost in [Lost::Perhaps, Lost::Certainly] {
            match outcome {
                Err(OpenError::Storage(error)) if error.is_removed() => {
                    if !Box::pin(self.look_anew(mxc, lost)).await {
                        return Err(OpenError::Storage(error));
                    }
                    outcome = Box::pin(self.open_by(caller, mxc, request, deadline, earlier)).await;
                }
                outcome => return outcome,
            }
        }
        outcome
    }

    /// Opens media again whose bytes turned out not to be there when they were to be read.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub async fn open_again(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: DownloadRequest,
        missing: Missing,
    ) -> Result<Opened, OpenError> {
        if !Box::pin(self.look_anew(mxc, missing.lost)).await {
            return Err(missing.error.into());
        }
        Box::pin(self.open_by(caller, mxc, request, self.deadline(request.patience), None)).await
    }

    /// Forgets what is believed of media whose bytes are not there, as far as that may help; whether it may.
    pub(crate) async fn look_anew(&self, mxc: &Mxc, lost: Lost) -> bool {
        if self.0.is_ours(mxc) {
            // It may have been deleted since its record was remembered. If it was not it is damaged, and stays so.
            self.0.media.invalidate(mxc);
            return lost == Lost::Perhaps;
        }
        self.find_anew(mxc, lost).await;
        true
    }

    async fn open_by(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: DownloadRequest,
        deadline: Timestamp,
        earlier: Option<&Elsewhere>,
    ) -> Result<Opened, OpenError> {
        if let Some(record) = self.0.remembered(mxc) {
            return self.opened(caller, mxc, record).await;
        }
        match Box::pin(self.find(caller, mxc, request, deadline, earlier)).await? {
            Admitted::Stored(record) => self.opened(caller, mxc, record).await,
            Admitted::Arriving(arriving, audience) => {
                let counted = Arc::new(self.0.metrics.download_streams());
                let life = arriving.life.clone();
                let content = GrowingContent { growing: Arc::clone(&arriving.growing), life, counted };
                let (mxc, caller) = (mxc.clone(), caller.clone());
                Ok(Opened::Arriving(OpenedArriving { arriving, audience, content, mxc, caller, deadline }))
            }
            Admitted::Reserved => Err(OpenError::NotYetUploaded),
            Admitted::Nothing => Err(OpenError::NotFound),
        }
    }

    /// The record of media that the caller may have, once it is whole.
    pub(crate) async fn find_whole(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        patience: Duration,
    ) -> Result<Arc<CachedMedia>, OpenError> {
        if let Some(record) = self.0.remembered(mxc) {
            return self.unless_frozen(caller, mxc, record);
        }
        let request = DownloadRequest {
            wanted: Wanted::Whole,
            patience,
            from_origin: FromOrigin::Fetched,
            redacted: RedactedMedia::Hidden,
        };
        match Box::pin(self.find(caller, mxc, request, self.deadline(patience), None)).await? {
            Admitted::Stored(record) => self.unless_frozen(caller, mxc, record),
            Admitted::Arriving(..) | Admitted::Reserved => Err(OpenError::NotYetUploaded),
            Admitted::Nothing => Err(OpenError::NotFound),
        }
    }

    /// Waits until the byte at `offset` of arriving media is there, no longer than its opener wanted to wait, and as
    /// everybody who waits: it may end early. Returns whether the byte is there.
    pub async fn arrives(&self, opened: &OpenedArriving, offset: u64) -> bool {
        let waiter = self.0.waiting.enter(&opened.mxc, Wanted::Whole, &opened.caller, self.0.waiting.now());
        let ended_early = async { while waiter.called().await != Woken::Early {} };
        tokio::select! {
            () = opened.content.growing.reaches(offset) => {}
            () = self.0.clock.reaches(opened.deadline) => {}
            () = ended_early => {}
        }
        opened.content.arrived() > offset
    }

    /// The record of media that is stored, whoever asks; none if there is none.
    pub(crate) async fn find_stored(&self, mxc: &Mxc) -> Result<Option<Arc<CachedMedia>>, RecordsError> {
        // Before the look: what is deleted after it is noticed.
        let (life, epoch) = (self.0.lives.enter(mxc), self.0.epoch());
        let Some(found) = Box::pin(self.0.records.find_media(mxc)).await? else { return Ok(None) };
        if found.record.lifetime.is_over(self.0.clock.now()) {
            return Ok(None);
        }
        if found.record.lifetime.is_ephemeral() || found.record.audience.is_restricted() {
            // What can be deleted, or be seen by somebody else in a moment, is never answered from memory.
            life.rests_on(Basis::Recorded { redacted_at: found.record.redacted_at });
            return Ok(Some(Arc::new(CachedMedia::ours(found, Some(life)))));
        }
        let cached = Arc::new(CachedMedia::ours(found, None));
        self.0.media.insert(mxc.clone(), Arc::clone(&cached));
        if life.is_over() {
            // It was erased since the look, and may have been forgotten before it was put there.
            self.0.media.invalidate(mxc);
            return Ok(None);
        }
        if self.0.epoch() != epoch {
            // Something may have happened to it that was not heard.
            self.0.media.invalidate(mxc);
        }
        Ok(Some(cached))
    }

    fn deadline(&self, patience: Duration) -> Timestamp {
        self.0.clock.now() + patience.min(self.0.rules.max_wait)
    }

    async fn opened(&self, caller: &Caller, mxc: &Mxc, record: Arc<CachedMedia>) -> Result<Opened, OpenError> {
        let record = self.unless_frozen(caller, mxc, record)?;
        let content = match self.content_of(&record).await {
            // It was deleted since the look at its record, and its file is gone already.
            Err(BlobsError::NotFound(_)) if record.life.as_ref().is_some_and(Life::is_over) => {
                return Err(OpenError::NotFound);
            }
            content => content?,
        };
        Ok(Opened::Stored(OpenedMedia { record, content }))
    }

    /// The record, if the caller may have it; that it was used is noted if it is kept only for as long as it is.
    fn unless_frozen(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        record: Arc<CachedMedia>,
    ) -> Result<Arc<CachedMedia>, OpenError> {
        if self.is_frozen(caller, mxc, record.record.created_at) {
            return Err(OpenError::Frozen);
        }
        if let Some(key) = &record.remote {
            // Media of others is never given to others again (MSC3916).
            if matches!(caller.requester, Requester::Server(_)) {
                return Err(OpenError::NotFound);
            }
            self.0.fetches.used(key, self.0.clock.now());
        }
        Ok(record)
    }

    /// Whether media from this time is kept from this caller (MSC3916, part 5).
    pub(crate) fn is_frozen(&self, caller: &Caller, mxc: &Mxc, created_at: Timestamp) -> bool {
        caller.requester == Requester::Anonymous
            && self.0.frozen_from.is_some_and(|from| created_at >= from)
            && !self.0.rules.freeze_exceptions.contains(mxc)
    }

    /// What there is of media of another server. What would be fetched now would be new, and so frozen for whoever is.
    async fn find_remote(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: DownloadRequest,
        patience: Duration,
    ) -> Result<Admitted, OpenError> {
        let DownloadRequest { wanted, from_origin, redacted, .. } = request;
        if !self.0.is_elsewhere(mxc) || matches!(caller.requester, Requester::Server(_)) {
            return Ok(Admitted::Nothing);
        }
        let key = original(mxc);
        if let Some(kept) = self.find_kept(&key).await? {
            self.admit_to_stored(caller, mxc, &kept, redacted).await?;
            return Ok(Admitted::Stored(kept));
        }
        if self.is_frozen(caller, mxc, self.0.clock.now()) {
            return Err(OpenError::Frozen);
        }
        if from_origin == FromOrigin::CachedOnly {
            return Ok(Admitted::Nothing);
        }
        Ok(match self.fetched(caller, &key, wanted, patience).await? {
            Remote::Stored(stored) => {
                self.admit_to_stored(caller, mxc, &stored, redacted).await?;
                Admitted::Stored(stored)
            }
            Remote::Arriving(arriving) => {
                let audience = arriving.audience.clone();
                let restriction = Restriction { audience: audience.clone(), uploader: None, redacted_at: None };
                if audience.is_restricted() {
                    self.admit(caller, mxc, &restriction, redacted).await?;
                }
                Admitted::Arriving(arriving, audience)
            }
        })
    }

    /// Whether the caller may see stored media of another server.
    pub(crate) async fn admit_to_stored(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        media: &CachedMedia,
        redacted: RedactedMedia,
    ) -> Result<(), OpenError> {
        if let Some(restriction) = Restriction::of(&media.record) {
            self.admit(caller, mxc, &restriction, redacted).await?;
        }
        // It was taken away while this was asked.
        if media.life.as_ref().is_some_and(Life::is_over) { Err(OpenError::NotFound) } else { Ok(()) }
    }

    /// What the caller may have of the media, after waiting until `deadline` for what was promised, and for what is being
    /// attached. Whether the caller may see it is judged before it is waited for, and again each time it is looked for.
    async fn find(
        &self,
        caller: &Caller,
        mxc: &Mxc,
        request: DownloadRequest,
        deadline: Timestamp,
        earlier: Option<&Elsewhere>,
    ) -> Result<Admitted, OpenError> {
        if !self.0.is_ours(mxc) {
            let patience = deadline.since(self.0.clock.now());
            return self.find_remote(caller, mxc, request, patience).await;
        }
        let DownloadRequest { wanted, redacted, .. } = request;
        let (waiting, clock) = (&self.0.waiting, &self.0.clock);
        let mut waiter = None;
        // Since when nothing was heard of what another node had nothing of.
        let mut unheard = earlier.map(|earlier| earlier.looked);
        loop {
            let moment = waiting.now();
            let mut heard = self.0.heard.subscribe();
            let found = self.look(mxc, wanted).await?;
            let (audience, admission) = match self.restriction(mxc, &found).await? {
                Some(restriction) => {
                    let admission = self.admit(caller, mxc, &restriction, redacted).await?;
                    (restriction.audience, admission)
                }
                None => (Audience::Everyone, Admission::Admitted),
            };
            let now = clock.now();
            let promised = matches!(found, Found::Arriving(_) | Found::Reserved(_));
            if promised && self.is_frozen(caller, mxc, now) {
                // It would be frozen when it is stored; and nobody holds a connection for that.
                return Err(OpenError::NotYetUploaded);
            }
            let undetermined = admission == Admission::Undetermined;
            let until = match (admission, found) {
                (_, Found::Nothing) => return Ok(Admitted::Nothing),
                (Admission::Undetermined, _) if now < deadline => Timestamp::NEVER,
                (Admission::Undetermined, _) => {
                    self.stays_undetermined(caller, mxc, &audience).await?;
                    return Err(OpenError::NotVisible);
                }
                (Admission::Admitted, Found::Stored(media)) => {
                    if media.life.as_ref().is_some_and(Life::is_over) {
                        // It was taken away, or became somebody else's to see, while this was asked.
                        continue;
                    }
                    return Ok(Admitted::Stored(media));
                }
                (Admission::Admitted, Found::Arriving(arriving)) => {
                    return Ok(Admitted::Arriving(arriving, audience));
                }
                // Whoever sent it here waits, and is told when there is a beginning.
                (Admission::Admitted, Found::Reserved(_))
                    if caller.hop == Hop::Relayed && wanted == Wanted::Beginning =>
                {
                    return Err(OpenError::Misdirected);
                }
                (Admission::Admitted, Found::Reserved(Promise { at: Some(node), .. })) if unheard.is_none() => {
                    return Err(OpenError::Elsewhere(Elsewhere::until(node, deadline, moment)));
                }
                (Admission::Admitted, Found::Reserved(promise)) if now < deadline => promise.until,
                (Admission::Admitted, Found::Reserved(_)) => return Ok(Admitted::Reserved),
            };
            let moment = unheard.unwrap_or(moment);
            let waiter = waiter.get_or_insert_with(|| waiting.enter(mxc, wanted, caller, moment));
            tokio::select! {
                woken = waiter.called() => {
                    if woken == Woken::Early {
                        return Err(OpenError::NotYetUploaded);
                    }
                    unheard = None;
                }
                () = sleep(LOOK_AGAIN), if unheard.is_some() => unheard = None,
                () = clock.reaches(deadline.min(until)) => {}
                // Its sender lives as long as this.
                _ = heard.changed(), if undetermined => {}
            }
        }
    }

    /// What there is of the media at this moment.
    async fn look(&self, mxc: &Mxc, wanted: Wanted) -> Result<Found, OpenError> {
        if let Some(cached) = self.0.remembered(mxc) {
            return Ok(Found::Stored(cached));
        }
        if wanted == Wanted::Beginning
            && let Some(arriving) = self.0.arrivals.arriving(mxc)
            && !arriving.life.as_ref().is_some_and(Life::is_over)
        {
            return Ok(Found::Arriving(arriving));
        }
        if let Some(stored) = self.find_stored(mxc).await? {
            return Ok(Found::Stored(stored));
        }
        let readable = wanted == Wanted::Beginning && self.0.rules.stream;
        match self.0.records.find_reservation(mxc).await? {
            // While its upload arrives, it does not expire.
            Some(Reservation { held: true, kind, node, .. }) => {
                let at = self.living(node).await?.filter(|_| readable);
                Ok(Found::Reserved(Promise { until: Timestamp::NEVER, kind, at }))
            }
            Some(Reservation { expires_at: until, kind, node, partial, .. }) if until > self.0.clock.now() => {
                let at = self.living(node.filter(|_| partial.is_some())).await?.filter(|_| readable);
                Ok(Found::Reserved(Promise { until, at, kind }))
            }
            Some(_) => Ok(Found::Nothing),
            // It may have been recorded since the first look: then it has a record now.
            None => Ok(self.find_stored(mxc).await?.map_or(Found::Nothing, Found::Stored)),
        }
    }

    /// Who may see what was found; none if it is everybody.
    async fn restriction(&self, mxc: &Mxc, found: &Found) -> Result<Option<Restriction>, OpenError> {
        let is_restricted = match found {
            Found::Stored(media) => return Ok(Restriction::of(&media.record)),
            Found::Arriving(arriving) => arriving.audience.is_restricted(),
            Found::Reserved(promise) => matches!(promise.kind, MediaKind::Restricted { .. }),
            Found::Nothing => false,
        };
        if !is_restricted {
            return Ok(None);
        }
        // What has no link any more was removed since it was found.
        let link = self.0.records.find_link(mxc).await?;
        link.map(|link| Some(link.into())).ok_or(OpenError::NotFound)
    }

    /// Opens the bytes of media.
    pub(crate) async fn content_of(&self, media: &CachedMedia) -> Result<Content, BlobsError> {
        Ok(living(self.content(&media.body, media.lasting()).await?, media.life.as_ref()))
    }

    /// Opens the bytes of a body. `lasting` is their number, if nobody can take them away at once.
    pub(crate) async fn content(&self, body: &Body, lasting: Option<u64>) -> Result<Content, BlobsError> {
        Ok(match body {
            Body::Inline(bytes) => Content::Memory(bytes.clone()),
            Body::At(location) => Content::Blob(Box::pin(self.open_blob(location, lasting)).await?),
        })
    }

    async fn open_blob(&self, location: &Location, lasting: Option<u64>) -> Result<Blob, BlobsError> {
        let opened = match lasting {
            Some(size) => self.0.blobs.read_lasting(location, size).await,
            None => self.0.blobs.read(location).await,
        };
        opened.inspect_err(|error| {
            tracing::error!(%error, location = location.as_str(), "a recorded blob cannot be opened");
        })
    }
}
