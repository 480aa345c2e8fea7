//! The keys of other servers: fetched when somebody claims to be one, verified, and kept for a while (server-server
//! API, "Retrieving server keys").
//!
//! Whoever sends a request chooses which server is asked for its keys, so nothing here may be done twice at a time,
//! often, or without bounds: one fetch at a time for each server, which goes on when the request that caused it is
//! gone; a back-off after failures; and a limit on how many servers are remembered.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use moka::sync::Cache;
use ruma_common::CanonicalJsonObject;
use tintype_domain::{Clock, OwnedServerName, ServerName, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::key_document::{KeyDocument, KeyDocumentError, VerifyKey, documents_of_notary, signing_key_ids};

/// How many servers are remembered.
const MAX_SERVERS: u64 = 10_000;

/// How long a server is not asked again because somebody names a key that it does not have.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_mins(5);

/// How long a server is left alone after its first failure; each further one doubles that.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest time that a server is left alone.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Where the documents come from. Each answer is read up to a bound ([`MAX_DOCUMENT`](crate::MAX_DOCUMENT),
/// [`MAX_NOTARY_ANSWER`](crate::MAX_NOTARY_ANSWER)), and none is waited for without end.
pub trait KeySource: Send + Sync + 'static {
    /// The body of `GET /_matrix/key/v2/server` at the server.
    fn own(&self, server: &ServerName) -> BoxFuture<'static, Result<Bytes, KeyFetchError>>;

    /// The body of `POST /_matrix/key/v2/query` at another server, about this one.
    fn of_notary(
        &self,
        notary: &ServerName,
        server: &ServerName,
        minimum_valid_until: Timestamp,
    ) -> BoxFuture<'static, Result<Bytes, KeyFetchError>>;
}

/// Why a document could not be fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyFetchError {
    /// There was no answer, or it broke off.
    #[error(transparent)]
    Connection(Arc<dyn Error + Send + Sync>),
    /// The answer has another status than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The answer is longer than is read.
    #[error("the answer is too long")]
    TooLong,
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The server has no key of this ID.
    #[error("{server} has no key {key_id}")]
    Unknown {
        /// Whose key it would be.
        server: OwnedServerName,
        /// Its ID.
        key_id: String,
    },
    /// The server's keys cannot be had now.
    #[error("the keys of {server} cannot be had: {reason}")]
    Unavailable {
        /// Whose keys.
        server: OwnedServerName,
        /// What went wrong, for the log.
        reason: String,
        /// When they are fetched again, at the earliest.
        until: Timestamp,
    },
}

/// The keys of all other servers.
#[derive(Clone)]
pub struct ServerKeys {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn KeySource>,
    notaries: Vec<OwnedServerName>,
    clock: Arc<dyn Clock>,
    servers: Cache<OwnedServerName, Arc<Server>>,
}

/// What is known of one server.
#[derive(Default)]
struct Server {
    known: Mutex<Known>,
    /// Held by the one fetch.
    fetching: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct Known {
    document: Option<Kept>,
    failure: Option<Failure>,
}

struct Kept {
    document: KeyDocument,
    fetched_at: Timestamp,
}

struct Failure {
    reason: String,
    pause: Duration,
    until: Timestamp,
}

/// What is known of one key.
enum Answer {
    Key(VerifyKey),
    /// It holds, but half of its time is over.
    Ageing(VerifyKey),
    None(KeyError),
    /// Nothing is known before the server is asked.
    Ask,
}

impl ServerKeys {
    /// Keys from this source, none of which is known yet. The notaries are asked, in this order, about a server that
    /// does not answer itself.
    pub fn new(source: Arc<dyn KeySource>, notaries: Vec<OwnedServerName>, clock: Arc<dyn Clock>) -> Self {
        let servers = Cache::new(MAX_SERVERS);
        Self { inner: Arc::new(Inner { source, notaries, clock, servers }) }
    }

    /// The key of a server with which it may sign requests now. Keys that it has retired are none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn key(&self, server: &ServerName, key_id: &str) -> Result<VerifyKey, KeyError> {
        Inner::key(&self.inner, server, key_id).await
    }
}

impl Inner {
    async fn key(self: &Arc<Self>, server: &ServerName, key_id: &str) -> Result<VerifyKey, KeyError> {
        let known = self.servers.get_with(server.to_owned(), Arc::default);
        match known.look_up(server, key_id, self.clock.now()) {
            Answer::Key(key) => return Ok(key),
            Answer::Ageing(key) => {
                if let Ok(turn) = Arc::clone(&known.fetching).try_lock_owned() {
                    tokio::spawn(Arc::clone(self).fetch(server.to_owned(), known, turn));
                }
                return Ok(key);
            }
            Answer::None(error) => return Err(error),
            Answer::Ask => {}
        }
        let turn = Arc::clone(&known.fetching).lock_owned().await;
        // Whoever had the turn before may have answered this, too.
        if let Answer::Ask = known.look_up(server, key_id, self.clock.now()) {
            let fetch = Arc::clone(self).fetch(server.to_owned(), Arc::clone(&known), turn);
            // It goes on without us, so that nobody can have a server asked again and again by hanging up.
            let outcome = tokio::spawn(fetch).await;
            outcome.map_err(|error| self.unavailable(server, &error))?;
        }
        match known.look_up(server, key_id, self.clock.now()) {
            Answer::Key(key) | Answer::Ageing(key) => Ok(key),
            Answer::None(error) => Err(error),
            Answer::Ask => Err(self.unavailable(server, &"they expired at once")),
        }
    }

    /// Asks a server, or else the notaries, and remembers what comes of it.
    fn fetch(
        self: Arc<Self>,
        server: OwnedServerName,
        known: Arc<Server>,
        turn: OwnedMutexGuard<()>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let document = match self.ask_itself(&server).await {
                Ok(document) => Ok(document),
                Err(reason) => self.ask_notaries(&server).await.ok_or(reason),
            };
            known.remember(document, self.clock.now());
            drop(turn);
        })
    }

    async fn ask_itself(&self, server: &ServerName) -> Result<KeyDocument, String> {
        let body = self.source.own(server).await.map_err(|error| error.to_string())?;
        KeyDocument::verify(&body, server, self.clock.now()).map_err(|error| error.to_string())
    }

    async fn ask_notaries(self: &Arc<Self>, server: &ServerName) -> Option<KeyDocument> {
        // A notary vouches for itself only: otherwise two could wait for each other.
        if self.notaries.iter().any(|notary| notary == server) {
            return None;
        }
        for notary in &self.notaries {
            match self.ask_notary(notary, server).await {
                Ok(document) => return Some(document),
                Err(reason) => tracing::debug!(%server, %notary, reason, "a notary does not know a server's keys"),
            }
        }
        None
    }

    async fn ask_notary(self: &Arc<Self>, notary: &ServerName, server: &ServerName) -> Result<KeyDocument, String> {
        let now = self.clock.now();
        let body = self.source.of_notary(notary, server, now).await.map_err(|error| error.to_string())?;
        let documents = documents_of_notary(&body, server).map_err(|error| error.to_string())?;
        let mut best: Result<KeyDocument, String> = Err("it sent no document of the server".to_owned());
        for document in documents {
            let verified = async {
                self.check_notary(notary, &document).await?;
                KeyDocument::verify_object(&document, server, now).map_err(|error| error.to_string())
            };
            match (verified.await, &best) {
                (Ok(document), Ok(other)) if document.valid_until() <= other.valid_until() => {}
                (Ok(document), _) => best = Ok(document),
                (Err(reason), Err(_)) => best = Err(reason),
                (Err(_), Ok(_)) => {}
            }
        }
        best
    }

    /// Whether a notary has signed a document with a key of its own.
    async fn check_notary(self: &Arc<Self>, notary: &ServerName, document: &CanonicalJsonObject) -> Result<(), String> {
        let mut reason = KeyDocumentError::NotSigned.to_string();
        for id in signing_key_ids(document, notary) {
            match self.key(notary, &id).await {
                Ok(key) if key.has_signed(document, notary, &id) => return Ok(()),
                Ok(_) => reason = KeyDocumentError::BadSignature { key_id: id }.to_string(),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    fn unavailable(&self, server: &ServerName, reason: &dyn ToString) -> KeyError {
        KeyError::Unavailable { server: server.to_owned(), reason: reason.to_string(), until: self.clock.now() }
    }
}

impl Server {
    fn look_up(&self, server: &ServerName, key_id: &str, now: Timestamp) -> Answer {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = known.failure.as_ref().filter(|failure| now < failure.until);
        let document = known.document.as_ref().filter(|kept| now < kept.document.valid_until());
        if let Some((kept, key)) = document.and_then(|kept| Some((kept, kept.document.key(key_id)?))) {
            return if failure.is_some() || now < kept.half_time() { Answer::Key(key) } else { Answer::Ageing(key) };
        }
        if let Some(failure) = failure {
            let (server, reason) = (server.to_owned(), failure.reason.clone());
            return Answer::None(KeyError::Unavailable { server, reason, until: failure.until });
        }
        if document.is_some_and(|kept| now < kept.fetched_at + UNKNOWN_KEY_PAUSE) {
            return Answer::None(KeyError::Unknown { server: server.to_owned(), key_id: key_id.to_owned() });
        }
        Answer::Ask
    }

    fn remember(&self, document: Result<KeyDocument, String>, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match document {
            Ok(document) => *known = Known { document: Some(Kept { document, fetched_at: now }), failure: None },
            Err(reason) => {
                let pause = known.failure.as_ref().map_or(FIRST_PAUSE, |last| LONGEST_PAUSE.min(last.pause * 2));
                known.failure = Some(Failure { reason, pause, until: now + pause });
            }
        }
    }
}

impl Kept {
    /// When half of the time is over for which the document was valid when it came.
    fn half_time(&self) -> Timestamp {
        self.fetched_at + self.document.valid_until().since(self.fetched_at) / 2
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
