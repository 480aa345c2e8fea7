//! Media of other servers: kept here from an earlier request, or fetched, once for everybody who asks meanwhile.
//!
//! A fetch is a task of its own. It writes what comes into a file that grows, which all who asked read from its first byte
//! on; when it is whole it is recorded in the cache, and its last byte is let go. Whoever asks joins the fetch that runs,
//! if there is one: the table of fetches is locked from looking to entering, and a fetch looks into the records again
//! before it asks the origin. If it breaks off, its readers are cut and nothing of it is kept.

mod error;
mod fetch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use tintype_domain::{Mxc, OwnedServerName, Timestamp};
use tintype_federation::FetchError;
use tintype_storage::records::{Basis, RecordsError, RemoteKey, RemoteResponse};
use tokio::sync::watch;

pub use self::error::RemoteError;
use self::fetch::Fetch;
use crate::{Arriving, Caller, OpenError, Repository, Wanted, open::CachedMedia, waiting::Woken};

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

/// What is thought of a recorded blob that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
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
                Ok(Progress::Failed(RemoteError::Elsewhere(node))) => {
                    Err(OpenError::Elsewhere(self.elsewhere(node, Some(until))))
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
            let (life, epoch) = (self.0.lives.enter(&key.mxc), self.0.epoch());
            let Some(found) = Box::pin(self.0.records.find_remote(key)).await? else { return Ok(None) };
            let lifetime = found.record.lifetime;
            if lifetime.is_over(self.0.clock.now()) {
                return Ok(None);
            }
            let may_end = lifetime.is_ephemeral() || found.record.audience.is_restricted();
            if may_end {
                let (audience, redacted_at) = (found.record.audience.clone(), found.record.redacted_at);
                life.rests_on(Basis::Kept { audience, redacted_at });
            }
            let kept = CachedMedia::kept(key.clone(), found, may_end.then(|| life.clone()));
            let kept = self.remember(key, kept);
            if !life.is_over() {
                if self.0.epoch() != epoch {
                    // Something may have happened to it that was not heard.
                    self.0.media.invalidate(&key.mxc);
                }
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
                self.0.cut(mxc);
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
