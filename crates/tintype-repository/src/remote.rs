//! Media of other servers: kept here from an earlier request, or fetched, once for everybody who asks meanwhile.
//!
//! A fetch is a task of its own. It writes what comes into a file that grows, which all who asked read from its first byte
//! on; when it is whole it is recorded in the cache, and its last byte is let go. Whoever asks joins the fetch that runs,
//! if there is one: the table of fetches is locked from looking to entering, and a fetch looks into the records again
//! before it asks the origin. If it breaks off, its readers are cut and nothing of it is kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{FutureExt as _, StreamExt as _};
use moka::sync::Cache;
use serde_json::{Map, Value};
use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OwnedServerName, Timestamp};
use tintype_federation::{FetchError, Question, QuestionKind, RemoteMedia};
use tintype_storage::{
    blobs::{BlobsError, Growing, Incoming},
    records::{Body, InsertOutcome, InsertRemote, NewBlob, RecordsError, RemoteKey, RemoteResponse, RemoteSource},
};
use tokio::sync::watch;

use crate::{
    Arriving, Caller, OpenError, Repository, StorageError, Wanted,
    lives::Life,
    open::CachedMedia,
    receive::{MAX_CONTENT_TYPE, MAX_FILENAME},
    restrictions,
    waiting::Woken,
};

/// How long the origin's word is believed that it has no such media.
const ABSENT_FOR: Duration = Duration::from_mins(1);

/// How long it is remembered that media is larger than is taken: finding out may have cost a large transfer.
const TOO_LARGE_FOR: Duration = Duration::from_mins(10);

/// How long an answer that could not be used is not asked for again.
const UNUSABLE_FOR: Duration = Duration::from_secs(30);

/// How long a response with ephemeral media of another server is kept at most, whatever else is said of the cache (MSC4425,
/// "caching": one day).
const EPHEMERAL_FOR: Duration = Duration::from_hours(24);

/// Failures remembered at once.
const REMEMBERED_FAILURES: u64 = 10_000;

/// How much longer than who began a fetch somebody has to wait for it to be begun again for them, if what was promised did
/// not come meanwhile.
const WORTH_ASKING_AGAIN: Duration = Duration::from_secs(1);

/// Fetches under way at once: each holds a connection, an open file and a few buffers.
const MAX_FETCHES: usize = 512;

/// Whether media of other servers is fetched for a request (`allow_remote`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromOrigin {
    /// It is.
    Fetched,
    /// Only what is kept here already is given.
    CachedOnly,
}

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
    fn is_believed_for(&self) -> Option<Duration> {
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
    fn is_believed_by(&self, caller: &Caller) -> bool {
        !matches!(self, Self::Origin(FetchError::NotFound)) || caller.requester.user().is_none()
    }
}

/// How far a fetch is.
#[derive(Debug, Clone)]
enum Progress {
    /// The origin was asked.
    Asking,
    /// There is a beginning.
    Arriving(Arc<Arriving>),
    /// It is recorded.
    Stored(Arc<CachedMedia>),
    /// Nothing of it is kept.
    Failed(RemoteError),
}

/// A fetch under way.
#[derive(Debug, Clone)]
struct Running {
    progress: watch::Receiver<Progress>,
    /// Until when the origin was asked to wait for media that was promised to it.
    until: Timestamp,
}

/// A failure, and until when it is believed.
type Failure = (Timestamp, RemoteError);

/// What is being fetched, what could not be, and when what is kept was last used.
pub(crate) struct Fetches {
    running: Mutex<HashMap<RemoteKey, Running>>,
    failures: Cache<RemoteKey, Failure>,
    used: Mutex<HashMap<RemoteKey, Timestamp>>,
}

impl Default for Fetches {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            failures: Cache::builder().max_capacity(REMEMBERED_FAILURES).build(),
            used: Mutex::default(),
        }
    }
}

impl Fetches {
    fn running(&self) -> MutexGuard<'_, HashMap<RemoteKey, Running>> {
        // Every change under this lock is whole before anything in it could panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This response was given to somebody.
    pub(crate) fn used(&self, key: &RemoteKey, now: Timestamp) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.get_mut(key) {
            Some(last) => *last = now,
            None => drop(used.insert(key.clone(), now)),
        }
    }

    /// What was given to anybody since this was last asked.
    pub(crate) fn take_used(&self) -> Vec<(RemoteKey, Timestamp)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *used).into_iter().collect()
    }

    fn failure(&self, key: &RemoteKey, now: Timestamp) -> Option<RemoteError> {
        let (until, error) = self.failures.get(key)?;
        (now < until).then_some(error)
    }
}

/// What is thought of a file of the cache that cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its record may have gone a moment ago.
    Perhaps,
    /// Its record is still there.
    Certainly,
}

/// What there is of media of another server.
pub(crate) enum Remote {
    /// All of it.
    Stored(Arc<CachedMedia>),
    /// Some of it.
    Arriving(Arc<Arriving>),
}

/// The key of the media itself.
pub(crate) fn original(mxc: &Mxc) -> RemoteKey {
    RemoteKey { mxc: mxc.clone(), response: RemoteResponse::Original }
}

impl Repository {
    /// A response of another server that is not kept here: fetched, or joined where it is being fetched. The caller waits
    /// for it as everybody who waits, and may be answered early. `patience` is for media that was only promised to its
    /// origin; what the origin itself takes to answer comes on top of it.
    ///
    /// # Errors
    /// [`OpenError::NotYetUploaded`] if there is not what is wanted of it in time; others as the fetch fails.
    pub(crate) async fn fetched(
        &self,
        caller: &Caller,
        key: &RemoteKey,
        wanted: Wanted,
        patience: Duration,
    ) -> Result<Remote, OpenError> {
        let until = self.0.clock.now() + patience.min(self.0.rules.max_wait);
        let waiter = self.0.waiting.enter(&key.mxc, wanted, caller, self.0.waiting.now());
        let deadline = until + self.0.rules.remote.answer_time;
        let enough = |progress: &Progress| match progress {
            Progress::Asking => false,
            Progress::Arriving(_) => wanted == Wanted::Beginning,
            Progress::Stored(_) | Progress::Failed(_) => true,
        };
        loop {
            let mut fetch = self.join_or_begin(caller, key, until)?;
            let ended_early = async { while waiter.called().await != Woken::Early {} };
            let reached = tokio::select! {
                biased;
                reached = fetch.progress.wait_for(enough) => reached.map(|progress| progress.clone()),
                () = self.0.clock.reaches(deadline) => return Err(OpenError::NotYetUploaded),
                () = ended_early => return Err(OpenError::NotYetUploaded),
            };
            return match reached {
                Ok(Progress::Stored(stored)) => Ok(Remote::Stored(stored)),
                Ok(Progress::Arriving(arriving)) => Ok(Remote::Arriving(arriving)),
                // Whoever began this fetch wanted to wait less than this caller does: the origin is asked again.
                Ok(Progress::Failed(RemoteError::Origin(FetchError::NotYetUploaded)))
                    if fetch.until + WORTH_ASKING_AGAIN < until && self.0.clock.now() < until =>
                {
                    continue;
                }
                Ok(Progress::Failed(error)) => Err(error.into()),
                // Its task is gone without a word.
                Ok(Progress::Asking) | Err(_) => Err(RemoteError::Stopping.into()),
            };
        }
    }

    /// A response that is kept here.
    pub(crate) async fn find_kept(&self, key: &RemoteKey) -> Result<Option<Arc<CachedMedia>>, RecordsError> {
        loop {
            // Before the look: what goes after it is noticed.
            let life = self.0.lives.enter(&key.mxc);
            let Some(found) = Box::pin(self.0.records.find_remote(key)).await? else { return Ok(None) };
            let lifetime = found.record.lifetime;
            if lifetime.is_over(self.0.clock.now()) {
                return Ok(None);
            }
            let may_end = lifetime.is_ephemeral() || found.record.audience.is_restricted();
            let kept = CachedMedia::kept(key.clone(), found, may_end.then(|| life.clone()));
            let kept = self.remember(key, kept);
            if !life.is_over() {
                return Ok(Some(kept));
            }
            // It went, or was restricted, between the look and now: this is not to be remembered.
            self.0.forget(key).await;
        }
    }

    /// Keeps a record in memory, if it is one that is looked for there.
    fn remember(&self, key: &RemoteKey, cached: CachedMedia) -> Arc<CachedMedia> {
        let cached = Arc::new(cached);
        // What is ephemeral is looked up each time: it may be gone.
        if key.response == RemoteResponse::Original && cached.life.is_none() {
            self.0.media.insert(key.mxc.clone(), Arc::clone(&cached));
        }
        cached
    }

    /// The fetch of this response: one that runs, or a new one.
    fn join_or_begin(&self, caller: &Caller, key: &RemoteKey, until: Timestamp) -> Result<Running, OpenError> {
        let fetches = &self.0.fetches;
        let mut running = fetches.running();
        if let Some(fetch) = running.get(key) {
            return Ok(fetch.clone());
        }
        let now = self.0.clock.now();
        if let Some(error) = fetches.failure(key, now).filter(|error| error.is_believed_by(caller)) {
            return Err(error.into());
        }
        if running.len() >= MAX_FETCHES {
            return Err(RemoteError::Busy.into());
        }
        self.0.limiters.check_fetch(&key.mxc.server_name)?;
        let (sender, progress) = watch::channel(Progress::Asking);
        let begun = Running { progress, until };
        running.insert(key.clone(), begun.clone());
        let fetch = Fetch {
            repository: self.clone(),
            key: key.clone(),
            asker: self.asker(caller),
            patience: until.since(now),
            progress: sender,
            growing: None,
        };
        self.0.metrics.fetch_began();
        self.0.background.finish(fetch.run());
        Ok(begun)
    }

    /// Makes media whose file is not there be looked up anew: it left the cache a moment ago, or its file is lost, and then
    /// its records go too, so that it is fetched again.
    pub(crate) async fn find_anew(&self, mxc: &Mxc, lost: Lost) {
        self.0.media.invalidate(mxc);
        if lost == Lost::Certainly {
            tracing::warn!(media = %mxc, "a file of the cache of remote media is lost; it is fetched again");
            self.forget_remote(mxc).await;
        }
    }

    /// Takes all that is kept of this media from the cache, and cuts who reads what was ephemeral.
    async fn forget_remote(&self, mxc: &Mxc) {
        match self.0.records.forget_remote(mxc.clone(), self.0.clock.now()).await {
            Ok(keys) => {
                for key in &keys {
                    self.0.forget(key).await;
                }
                self.0.lives.end(mxc);
                self.remove_soon();
            }
            Err(error) => {
                tracing::warn!(%error, media = %mxc, "media that its origin has deleted is still in the cache");
            }
        }
    }

    /// Which of our servers asks: the caller's, or the first one.
    fn asker(&self, caller: &Caller) -> OwnedServerName {
        let named = caller.requester.user().map(|user| user.user_id.server_name());
        let server = self.0.servers.iter().find(|server| Some(&*server.name) == named).or(self.0.servers.first());
        server.expect("an installation serves at least one server").name.clone()
    }
}

/// One fetch, from the question to the record.
struct Fetch {
    repository: Repository,
    key: RemoteKey,
    asker: OwnedServerName,
    patience: Duration,
    progress: watch::Sender<Progress>,
    growing: Option<Arc<Growing>>,
}

impl Drop for Fetch {
    /// However it ended, nobody joins it any more, and nobody waits for what it will not bring.
    fn drop(&mut self) {
        if let Some(growing) = &self.growing {
            // Does nothing to what is whole.
            growing.break_off();
        }
        self.leave();
    }
}

impl Fetch {
    /// From now on nobody joins it. There may be another one of the same key, which stays.
    fn leave(&self) {
        let mut running = self.repository.0.fetches.running();
        if running.get(&self.key).is_some_and(|fetch| fetch.progress.same_channel(&self.progress.subscribe())) {
            running.remove(&self.key);
        }
    }

    async fn run(mut self) {
        let repository = self.repository.clone();
        let outcome = tokio::select! {
            outcome = Box::pin(self.fetch()) => outcome,
            () = repository.0.background.closing() => Err(RemoteError::Stopping),
        };
        let inner = &repository.0;
        match outcome {
            Ok(stored) => {
                if let Some(growing) = &self.growing {
                    growing.finish();
                }
                self.progress.send_replace(Progress::Stored(stored));
            }
            Err(error) => {
                inner.metrics.fetch_failed();
                tracing::info!(media = %self.key.mxc, %error, "media of another server could not be fetched");
                if let RemoteError::Origin(FetchError::NotFound) = error {
                    // What is kept of it from before has no origin any more.
                    repository.forget_remote(&self.key.mxc).await;
                }
                if let Some(time) = error.is_believed_for() {
                    inner.fetches.failures.insert(self.key.clone(), (inner.clock.now() + time, error.clone()));
                }
                // Whoever begins anew when they hear of it does not join this one.
                self.leave();
                self.progress.send_replace(Progress::Failed(error));
            }
        }
    }

    async fn fetch(&mut self) -> Result<Arc<CachedMedia>, RemoteError> {
        let repository = self.repository.clone();
        // Another fetch may have ended between the asker's look into the records and its entry here.
        if let Some(stored) = repository.find_kept(&self.key).await? {
            return Ok(stored);
        }
        let question = Question {
            mxc: &self.key.mxc,
            kind: match self.key.response {
                RemoteResponse::Original => QuestionKind::Download,
                RemoteResponse::Thumbnail { width, height, method } => {
                    QuestionKind::Thumbnail { width, height, method: method.as_str() }
                }
            },
            asker: &self.asker,
            patience: self.patience,
        };
        let media = repository.0.federation.fetch(&question).await?;
        let limit = repository.0.rules.remote.max_size;
        if media.content_length.is_some_and(|length| length > limit) {
            return Err(RemoteError::TooLarge { limit });
        }
        let fetched_at = repository.0.clock.now();
        let lifetime = if is_ephemeral(&media.metadata) {
            Lifetime::Ephemeral { expires_at: fetched_at + EPHEMERAL_FOR }
        } else {
            Lifetime::Kept
        };
        let audience = restrictions::audience(&media.metadata);
        let overruled = repository.said(&self.key.mxc, &audience).await?;
        // From before it is there: what goes after it is noticed.
        let life =
            (lifetime.is_ephemeral() || audience.is_restricted()).then(|| repository.0.lives.enter(&self.key.mxc));
        let terms = Terms { lifetime, audience, life };
        let (labels, arrived) = tokio::select! {
            biased;
            () = overruled.cancelled() => return Err(RemoteError::Overruled),
            received = self.receive(media, &terms, limit) => received?,
        };
        let size = match &arrived {
            Arrived::Small(bytes) => bytes.len() as u64,
            Arrived::Large(incoming) => incoming.size(),
        };
        self.record(labels, arrived, fetched_at, terms).await?;
        if overruled.is_cancelled() {
            // It may have been recorded over what was said meanwhile.
            repository.forget_remote(&self.key.mxc).await;
            return Err(RemoteError::Overruled);
        }
        repository.0.metrics.fetched(size);
        let stored = repository.find_kept(&self.key).await?;
        stored.ok_or_else(|| RecordsError::Inconsistent(format!("{} is gone again", self.key.mxc)).into())
    }

    /// Takes the bytes, and lets them be read while they come.
    async fn receive(
        &mut self,
        media: RemoteMedia,
        terms: &Terms,
        limit: u64,
    ) -> Result<(Labels, Arrived), RemoteError> {
        let RemoteMedia { content_type, filename, content_length, mut body, .. } = media;
        let labels = Labels::of(content_type, filename);
        let inline = self.repository.0.rules.inline_size;
        let (mut small, mut large) = (BytesMut::new(), None::<Incoming>);
        let mut size = 0_u64;
        loop {
            // As with uploads: what is small and all here needs no file, what lingers does.
            let chunk = match &mut large {
                None if !small.is_empty() => {
                    let Some(chunk) = body.next().now_or_never() else {
                        large = Some(self.open_file(&mut small, &labels, terms, content_length).await?);
                        continue;
                    };
                    chunk
                }
                None => body.next().await,
                Some(incoming) => tokio::select! {
                    biased;
                    chunk = body.next() => chunk,
                    written = incoming.catch_up() => {
                        written?;
                        continue;
                    }
                },
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk?;
            size += chunk.len() as u64;
            if size > limit {
                return Err(RemoteError::TooLarge { limit });
            }
            if large.is_none() && small.len() + chunk.len() > inline {
                large = Some(self.open_file(&mut small, &labels, terms, content_length).await?);
            }
            match &mut large {
                Some(incoming) => incoming.write(chunk).await?,
                None => small.extend_from_slice(&chunk),
            }
        }
        if content_length.is_some_and(|length| length != size) {
            let error = format!("{size} bytes came, and {} were stated", content_length.unwrap_or_default());
            return Err(FetchError::Malformed(error).into());
        }
        Ok((
            labels,
            large.map_or_else(|| Arrived::Small(small.freeze()), |incoming| Arrived::Large(Box::new(incoming))),
        ))
    }

    /// Puts what has come into a file, which those who wait read from now on.
    async fn open_file(
        &mut self,
        small: &mut BytesMut,
        labels: &Labels,
        terms: &Terms,
        length: Option<u64>,
    ) -> Result<Incoming, RemoteError> {
        let inner = &self.repository.0;
        let mut incoming = inner.blobs.receive().await?;
        incoming.write(std::mem::take(small).freeze()).await?;
        if inner.rules.stream {
            let growing = inner.blobs.grow(&mut incoming, length).await?;
            let mut attempt = [0; 8];
            inner.randomness.fill(&mut attempt);
            let Labels { content_type, filename } = labels.clone();
            let attempt = u64::from_ne_bytes(attempt);
            let Terms { lifetime, audience, life } = terms.clone();
            let growing = self.growing.insert(growing);
            let growing = Arc::clone(growing);
            let arriving = Arriving { content_type, filename, attempt, growing, lifetime, audience, life };
            self.progress.send_replace(Progress::Arriving(Arc::new(arriving)));
        }
        Ok(incoming)
    }

    /// Keeps what has come in the cache.
    async fn record(
        &self,
        labels: Labels,
        arrived: Arrived,
        fetched_at: Timestamp,
        terms: Terms,
    ) -> Result<(), RemoteError> {
        let inner = &self.repository.0;
        let (blob, location) = match arrived {
            Arrived::Large(incoming) if incoming.size() > inner.rules.inline_size as u64 => {
                let hashed = incoming.finish().await?;
                let (sha256, size) = (hashed.sha256, hashed.size);
                let location = inner.blobs.publish(hashed).await?;
                (NewBlob { sha256, size, body: Body::At(location.clone()) }, Some(location))
            }
            arrived => {
                let bytes = match arrived {
                    Arrived::Large(incoming) => incoming.into_bytes().await?,
                    Arrived::Small(bytes) => bytes,
                };
                let (sha256, size) = (ContentHash::of(&bytes), bytes.len() as u64);
                (NewBlob { sha256, size, body: Body::Inline(bytes) }, None)
            }
        };
        let Labels { content_type, filename } = labels;
        let insert = InsertRemote {
            key: self.key.clone(),
            blob,
            content_type,
            filename,
            fetched_at,
            lifetime: terms.lifetime,
            audience: terms.audience,
            source: RemoteSource::Origin,
        };
        let outcome = inner.records.insert_remote(insert).await;
        if let Some(location) = &location {
            match &outcome {
                Ok(InsertOutcome::Inserted) => inner.blobs.recorded(location).await,
                Ok(_) => self.repository.discard(location).await,
                Err(_) => self.repository.discard_if_unrecorded(location).await,
            }
        }
        outcome?;
        Ok(())
    }
}

/// Whether the origin says that its media is ephemeral: under either name, and by nothing but `true` (MSC4425).
fn is_ephemeral(metadata: &Map<String, Value>) -> bool {
    ["ephemeral", "org.matrix.msc4425.ephemeral"].iter().any(|key| metadata.get(*key) == Some(&Value::Bool(true)))
}

/// On what terms the origin gave its media.
#[derive(Debug, Clone)]
struct Terms {
    lifetime: Lifetime,
    audience: Audience,
    /// Its life, if it may end.
    life: Option<Life>,
}

/// A body that has come.
enum Arrived {
    Small(bytes::Bytes),
    Large(Box<Incoming>),
}

/// What the origin says of its media, as far as it can be kept.
#[derive(Debug, Clone)]
struct Labels {
    content_type: Vec<u8>,
    filename: Option<String>,
}

impl Labels {
    /// A type that is missing or beyond reason is none, and so is such a name.
    fn of(content_type: Option<Vec<u8>>, filename: Option<String>) -> Self {
        let content_type = content_type.filter(|value| !value.is_empty() && value.len() <= MAX_CONTENT_TYPE);
        Self {
            content_type: content_type.unwrap_or_else(|| b"application/octet-stream".to_vec()),
            filename: filename.filter(|name| !name.is_empty() && name.len() <= MAX_FILENAME),
        }
    }
}
