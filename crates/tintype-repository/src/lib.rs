//! The verbs of a content repository, and all of its rules.
//!
//! One module per verb: [`authenticate`](Repository::authenticate) says who asks, [`receive`](Repository::receive) takes
//! an upload, [`reserve`](Repository::reserve) promises one that [`fulfil`](Repository::fulfil) and
//! [`append`](Repository::append) bring, [`open`](Repository::open) gives media back,
//! [`thumbnail`](Repository::thumbnail) gives a small picture of it. Media of other servers is fetched in between. Whether
//! something is allowed, how much of it and how often, is decided here and nowhere else; how a request looks in HTTP is
//! not known here.

mod arrivals;
mod attach;
mod attempt;
mod authenticate;
mod background;
mod cache_metrics;
mod cdn;
mod cluster;
mod cluster_key;
mod content;
mod copy;
mod delete;
mod elsewhere;
mod endings;
mod erase;
mod fulfil;
mod held;
mod leftovers;
mod lives;
mod making;
mod measuring;
mod media_use;
mod metrics;
mod open;
mod origin;
mod rates;
mod receive;
mod redact;
mod redirect;
mod relocate;
mod remote;
mod remote_thumbnail;
mod reserve;
mod restrictions;
mod resume;
mod rules;
mod said;
mod scrub;
mod strays;
mod stream;
mod sweep;
mod telling;
mod thumbnail;
mod unrestricted;
mod visibility;
mod waiting;

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use moka::{future, sync};
use prometheus_client::registry::Registry;
use tintype_domain::{Clock, Mxc, OwnedServerName, Randomness, Requester, ServerName, Timestamp};
use tintype_federation::Federation;
use tintype_homeserver::{Credentials, Homeserver};
use tintype_storage::{
    blobs::{Blobs, BlobsError, Location},
    records::{MediaAge, MediaEndpoint, MediaRequestOutcome, Naming, Records, RecordsError, ThumbnailKey},
};
use tintype_thumbnails::Pool;
use tokio::sync::watch;

use self::{
    arrivals::Arrivals,
    attach::Turns,
    authenticate::Tokens,
    background::Background,
    cache_metrics::CacheCollector,
    endings::Endings,
    lives::Lives,
    media_use::{MediaUse, MediaUseCollector, MediaUses},
    metrics::Metrics,
    open::CachedMedia,
    rates::{Action, Limiters},
    remote::Fetches,
    said::Words,
    stream::RoomReading,
    thumbnail::CachedThumbnail,
    visibility::Sights,
    waiting::WaitingRoom,
};
pub use self::{
    arrivals::Arriving,
    attach::{AttachError, AttachRequest, Attached, Forwarded, Verdict},
    authenticate::{Accounts, AuthenticateError, Local},
    cdn::{CDN_PREFIX, Cdn, CdnError, OpenedForCdn},
    cluster::{Cluster, ClusterError, Lease, Membership, Node, Take},
    cluster_key::ClusterKey,
    content::{Content, GrowingContent, MediaContent},
    copy::CopyError,
    delete::DeleteError,
    elsewhere::Elsewhere,
    endings::TokensOf,
    erase::erase_alone,
    fulfil::{Completion, FulfilError, Fulfilled, Kept, RETRY_WHILE_RECEIVING, Resumable},
    media_use::ClientFamily,
    open::{DownloadRequest, Misses, Missing, OpenError, Opened, OpenedArriving, OpenedMedia},
    rates::{MAX_TAKEN_MESSAGE, MalformedTaken, Rate, RateLimited},
    receive::{BodyError, ReceiveError, Received, Upload, UploadKind},
    redirect::{Asker, RedirectRules, Redirected, Redirection},
    relocate::{RelocateError, Relocated, Relocation},
    remote::{FromOrigin, RemoteError},
    reserve::{Reservation, ReserveError, Reserved},
    resume::{Append, UploadProgress},
    rules::{
        EphemeralRules, Fate, Freeze, LinkedRules, MediaServer, Rates, RemoteRules, RemoteThumbnails, Rules,
        ScrubRules, ThumbnailRules,
    },
    stream::Transaction,
    thumbnail::{OpenedThumbnail, ThumbnailRequest, ThumbnailsError},
    unrestricted::UnrestrictedError,
    visibility::RedactedMedia,
    waiting::{WaitingLimits, Wanted},
};

pub use tintype_storage::records::{MalformedEvent, NodeId, StreamEvent};

/// Who makes a request, from where.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub requester: Requester,
    /// From which address; what is not limited by user is limited by address.
    pub address: IpAddr,
    /// With what a user was let in; none for others.
    pub access: Option<Arc<Access>>,
    /// How the request came to this node.
    pub hop: Hop,
}

/// How a request came to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hop {
    /// From its client.
    #[default]
    First,
    /// From another node, which has taken the permissions for it, and waits elsewhere if this is not the place.
    Relayed,
}

/// With what a user was let in: for questions to the homeserver that only the user may ask. It is never kept.
#[derive(Debug, Clone)]
pub struct Access {
    /// The server that the user was recognised by.
    pub server: OwnedServerName,
    /// The access token.
    pub credentials: Credentials,
    /// The `User-Agent` of the client.
    pub user_agent: Option<String>,
}

/// Why the repository cannot do its work at the moment.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Where things are kept cannot be reached, and may be a moment later. What was to be written may have been written.
    #[error("the storage is away: {0}")]
    Unavailable(String),
    /// The records failed.
    #[error(transparent)]
    Records(RecordsError),
    /// The blobs failed.
    #[error(transparent)]
    Blobs(BlobsError),
}

impl From<RecordsError> for StorageError {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::DiskFull => Self::DiskFull,
            error @ (RecordsError::Unavailable(_) | RecordsError::OutcomeUnknown(_) | RecordsError::TakenForDead) => {
                Self::Unavailable(error.to_string())
            }
            error => Self::Records(error),
        }
    }
}

impl From<BlobsError> for StorageError {
    fn from(error: BlobsError) -> Self {
        match error {
            BlobsError::DiskFull => Self::DiskFull,
            error => Self::Blobs(error),
        }
    }
}

/// Why another server's signature is not even looked at.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is one of ours: a request went out and came back.
    #[error("this server does not ask itself")]
    Ourselves,
    /// It is not among the servers that are spoken with.
    #[error("this server is not spoken with")]
    NotAPeer,
    /// Too many signatures came from one address.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
}

/// What a repository is made of.
pub struct Parts {
    /// What exists.
    pub records: Records,
    /// The bytes.
    pub blobs: Blobs,
    /// The servers whose media is kept here, and who has accounts there.
    pub servers: Vec<MediaServer>,
    /// Other servers.
    pub federation: Federation,
    /// What is allowed.
    pub rules: Rules,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where IDs come from.
    pub randomness: Arc<dyn Randomness>,
    /// The nodes that share the records, where they can be shared.
    pub cluster: Option<Cluster>,
}

/// A content repository. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    records: Records,
    blobs: Blobs,
    servers: Vec<MediaServer>,
    federation: Federation,
    rules: Rules,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    /// None where this node has the records for itself: on SQLite.
    cluster: Option<Cluster>,
    frozen_from: Option<Timestamp>,
    limiters: Limiters,
    tokens: Tokens,
    endings: Endings,
    media: sync::Cache<Mxc, Arc<CachedMedia>>,
    thumbnails: future::Cache<ThumbnailKey, Arc<CachedThumbnail>>,
    making: making::Making,
    painters: Pool,
    waiting: WaitingRoom,
    arrivals: Arrivals,
    fetches: Fetches,
    lives: Lives,
    words: Words,
    /// Changes when more is known of rooms or of events: see [`Inner::heard_of_rooms`].
    heard: watch::Sender<()>,
    turns: Turns,
    sights: Sights,
    /// Told when uploads ended at another node of which there may be bytes here: see [`leftovers`].
    may_be_left: Arc<tokio::sync::Notify>,
    /// Files of uploads of which it is not known whether they were recorded.
    unsettled: Mutex<Vec<Location>>,
    /// Held by whoever removes files of what was deleted.
    removing: tokio::sync::Mutex<()>,
    /// Whether somebody is about to.
    removal_is_due: AtomicBool,
    /// Held by whoever asks homeservers about redactions.
    asking: tokio::sync::Mutex<()>,
    /// Held by whoever erases users.
    erasing: tokio::sync::Mutex<()>,
    /// Whether something was deleted since the log of the database was last emptied.
    log_holds_deleted: AtomicBool,
    /// How many blobs are known to be damaged.
    damages: AtomicU64,
    rooms_to_read: RoomReading,
    uses: Arc<MediaUses>,
    background: Background,
    metrics: Metrics,
}

/// What a cache entry costs beside its body, in bytes: keys, record and the cache's own books.
const ENTRY: usize = 600;

impl Repository {
    /// Opens a repository: removes what a crash left, remembers when the installation first started, and begins to sweep
    /// what expires. What it does in the background runs on the runtime that this is called on.
    ///
    /// # Errors
    /// [`StorageError`] if records or blobs fail; nothing is served then.
    pub async fn open_all(parts: Parts) -> Result<Self, StorageError> {
        let Parts { records, blobs, servers, federation, rules, clock, randomness, cluster } = parts;
        let first_start = records.first_start(clock.now()).await?;
        if rules.linked.naming() == Naming::Ignored {
            records.forget_naming().await?;
        }
        sweep::what_a_crash_left(&records, &blobs, clock.now(), cluster.as_ref()).await?;
        let frozen_from = match rules.freeze {
            Freeze::Never => None,
            Freeze::FromFirstStart => Some(first_start),
            Freeze::From(time) => Some(time),
        };
        let weight = |body: usize| u32::try_from(ENTRY + body).unwrap_or(u32::MAX);
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let painters = Pool::new(rules.thumbnails.threads.unwrap_or(cores), rules.thumbnails.queue)
            .map_err(|error| StorageError::Blobs(error.into()))?;
        let metrics = Metrics::default();
        metrics.pending(records.pending().await?);
        let damages = records.count_damages().await?.0;
        let inner = Inner {
            waiting: WaitingRoom::new(
                rules.waiting,
                metrics.downloads_waiting.clone(),
                metrics.waits_ended_early.clone(),
            ),
            arrivals: Arrivals::default(),
            fetches: Fetches::default(),
            lives: Lives::default(),
            words: Words::default(),
            heard: watch::Sender::default(),
            turns: Turns::default(),
            sights: Sights::default(),
            may_be_left: Arc::default(),
            unsettled: Mutex::default(),
            removing: tokio::sync::Mutex::default(),
            removal_is_due: AtomicBool::new(false),
            asking: tokio::sync::Mutex::default(),
            erasing: tokio::sync::Mutex::default(),
            // Nobody knows what an earlier process left.
            log_holds_deleted: AtomicBool::new(true),
            damages: AtomicU64::new(damages),
            rooms_to_read: RoomReading::default(),
            uses: Arc::default(),
            background: Background::here(),
            limiters: Limiters::new(rules.rates, cluster.as_ref().and_then(|cluster| cluster.key("rates"))),
            tokens: authenticate::tokens(rules.token_cache_time),
            endings: Endings::new(rules.token_cache_time),
            media: sync::Cache::builder()
                .weigher(move |_, cached: &Arc<CachedMedia>| weight(cached.body_in_memory()))
                .max_capacity(rules.cache_bytes / 2)
                .time_to_live(rules.cache_time)
                .build(),
            making: making::Making::default(),
            thumbnails: future::Cache::builder()
                .weigher(move |_, cached: &Arc<CachedThumbnail>| weight(cached.body_in_memory()))
                .max_capacity(rules.cache_bytes / 2)
                .time_to_live(rules.cache_time)
                .build(),
            painters,
            metrics,
            records,
            blobs,
            servers,
            federation,
            rules,
            clock,
            randomness,
            cluster,
            frozen_from,
        };
        let inner = Arc::new(inner);
        telling::listen(&inner);
        sweep::what_expires(&inner);
        sweep::what_is_not_known(&inner);
        sweep::what_is_due(&inner);
        leftovers::of_other_nodes(&inner);
        scrub::everything(&inner);
        strays::in_the_store(&inner);
        stream::read_rooms(&inner);
        Ok(Self(inner))
    }

    /// The homeserver of one of our servers, if it has one.
    pub fn homeserver(&self, server: &ServerName) -> Option<Arc<Homeserver>> {
        self.0.homeserver(server).cloned()
    }

    /// Whether media that anybody may see is refused, so that all of it belongs to something (MSC3911).
    pub fn blocks_unrestricted(&self) -> bool {
        self.0.rules.linked.block_unrestricted
    }

    /// Runs work to its end even if nobody waits for it any more; a stop of the server does. Nothing if it panicked.
    pub async fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.0.background.finish(work).await.ok()
    }

    /// The nodes that share the records; none where this one has them for itself.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.0.cluster.as_ref()
    }

    /// Whether records and blobs answer.
    ///
    /// # Errors
    /// [`StorageError`] of the part that does not.
    pub async fn ready(&self) -> Result<(), StorageError> {
        self.0.records.ping().await?;
        Ok(self.0.blobs.ready().await?)
    }

    /// The size of the largest upload that is accepted from this caller, in bytes.
    ///
    /// # Errors
    /// [`ReceiveError::Guest`]: guests do not upload.
    pub fn max_upload_size(&self, caller: &Caller) -> Result<u64, ReceiveError> {
        receive::uploader(caller).map(|_| self.0.rules.max_upload_size)
    }

    /// How long after its upload ephemeral media ends by itself; never, if not given.
    pub fn ephemeral_max_age(&self) -> Option<Duration> {
        self.0.rules.ephemeral.max_age
    }

    /// The size of the largest upload that is accepted from anybody, in bytes.
    pub fn largest_upload(&self) -> u64 {
        self.0.rules.max_upload_size
    }

    /// Registers what is counted, for the operator, under `tintype_…`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
        registry.register_collector(Box::new(MediaUseCollector(Arc::clone(&self.0.uses))));
        registry.register_collector(Box::new(CacheCollector(self.0.blobs.clone())));
    }

    /// Counts a request for media. `stored` is when the media was, where it was found.
    pub fn count_use(
        &self,
        client: ClientFamily,
        endpoint: MediaEndpoint,
        outcome: MediaRequestOutcome,
        stored: Option<Timestamp>,
    ) {
        let age = stored.map_or(MediaAge::Unknown, |stored| media_use::age(stored, self.0.clock.now()));
        self.0.uses.count(MediaUse { client, endpoint, outcome, age });
    }

    /// Whether media is exchanged with this server, which signed a request from `address`: asked before its keys are.
    ///
    /// # Errors
    /// [`ServerError`] if it is not.
    pub fn admit_server(&self, server: &ServerName, address: IpAddr, hop: Hop) -> Result<(), ServerError> {
        // In other letters, too: whoever asked for the keys of that name would ask us.
        if self.0.is_a_name_of_ours(server) {
            return Err(ServerError::Ourselves);
        }
        if !self.0.federation.is_peer(server) {
            return Err(ServerError::NotAPeer);
        }
        Ok(self.0.limiters.check_address(Action::Authenticate, address, hop)?)
    }

    /// Answers those early who wait for an upload, and whoever comes from now on, and lets those go who read one that was
    /// interrupted: the server is stopping.
    pub fn stop_waiting(&self) {
        self.0.waiting.close();
        self.0.arrivals.give_up_all();
    }

    /// Waits for what is under way, and closes the records.
    pub async fn close(&self) {
        self.stop_waiting();
        self.0.background.close().await;
        if let Err(error) = sweep::note_use(&self.0).await {
            tracing::warn!(%error, "the last use of remote media could not be noted");
        }
        if let Err(error) = sweep::count(&self.0).await {
            tracing::warn!(%error, "the last requests for media could not be counted");
        }
        if let Some(cluster) = &self.0.cluster {
            cluster.leave().await;
        }
        self.0.records.close().await;
    }
}

impl Inner {
    /// The homeserver of one of our servers; none where this program is all there is, or for servers of others.
    pub(crate) fn homeserver(&self, server: &ServerName) -> Option<&Arc<Homeserver>> {
        match &self.servers.iter().find(|own| own.name == server)?.accounts {
            Accounts::Homeserver(homeserver) => Some(homeserver),
            Accounts::Local(_) => None,
        }
    }

    /// Whether the media of this server is kept here.
    fn is_ours(&self, mxc: &Mxc) -> bool {
        self.servers.iter().any(|server| server.name == mxc.server_name)
    }

    /// Whether media of this server can be another's. A name of ours in other letters is nobody's: names are compared
    /// exactly, but it would lead back to us.
    fn is_elsewhere(&self, mxc: &Mxc) -> bool {
        !self.is_a_name_of_ours(&mxc.server_name)
    }

    /// Whether this name leads to us, in whatever letters it is written.
    fn is_a_name_of_ours(&self, name: &ServerName) -> bool {
        self.servers.iter().any(|server| server.name.as_str().eq_ignore_ascii_case(name.as_str()))
    }
}
