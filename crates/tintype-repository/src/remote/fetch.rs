//! One fetch of one response of another server, as a task of its own: asked for, received while others read, recorded.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Map, Value};
use tintype_domain::{Audience, ContentHash, Lifetime, OwnedServerName, Timestamp};
use tintype_federation::{FetchError, Question, QuestionKind, RemoteMedia};
use tintype_storage::{
    blobs::{Growing, Incoming},
    records::{Body, InsertOutcome, InsertRemote, NewBlob, RecordsError, RemoteKey, RemoteResponse, RemoteSource},
};
use tokio::sync::watch;

use super::{Progress, RemoteError};
use crate::{
    Arriving, Repository,
    elsewhere::Leased,
    lives::Life,
    open::CachedMedia,
    receive::{MAX_CONTENT_TYPE, MAX_FILENAME},
    restrictions,
};

/// How long a response with ephemeral media of another server is kept at most, whatever else is said of the cache (MSC4425,
/// "caching": one day).
const EPHEMERAL_FOR: Duration = Duration::from_hours(24);

/// One fetch, from the question to the record.
pub(super) struct Fetch {
    pub(super) repository: Repository,
    pub(super) key: RemoteKey,
    pub(super) asker: OwnedServerName,
    pub(super) patience: Duration,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) growing: Option<Arc<Growing>>,
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

    /// Runs it to its end, whoever waits for it.
    pub(super) async fn run(mut self) {
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
            Err(error @ (RemoteError::Elsewhere(_) | RemoteError::RateLimited(_))) => {
                self.leave();
                self.progress.send_replace(Progress::Failed(error));
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
        // Of all nodes one fetches; held until it is recorded.
        let _lease = match repository.lease(&lease_name(&self.key)).await? {
            Leased::Here(lease) => lease,
            Leased::Elsewhere(node) => return Err(RemoteError::Elsewhere(node)),
        };
        // Another fetch may have ended between the asker's look into the records and its entry here.
        if let Some(stored) = repository.find_kept(&self.key).await? {
            return Ok(stored);
        }
        repository.0.limiters.check_fetch(&self.key.mxc.server_name)?;
        repository.0.metrics.fetch_began();
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
        let gathered = self.repository.0.rules.gathered_size;
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
            if large.is_none() && small.len() + chunk.len() > gathered {
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
        let arrived = match arrived {
            Arrived::Small(bytes) if bytes.len() > inner.rules.inline_size => {
                let mut incoming = inner.blobs.receive().await?;
                incoming.write(bytes).await?;
                Arrived::Large(Box::new(incoming))
            }
            arrived => arrived,
        };
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

/// What the right to fetch this response is called.
fn lease_name(RemoteKey { mxc, response }: &RemoteKey) -> String {
    match response {
        RemoteResponse::Original => format!("fetch:{mxc}"),
        RemoteResponse::Thumbnail { width, height, method } => {
            format!("fetch:{mxc} {width}x{height} {}", method.as_str())
        }
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
