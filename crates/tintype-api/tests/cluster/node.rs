//! One of several nodes, with a public and an internal port, on a runtime of its own: so it can be killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tintype_api::{
    Endpoints, HttpMetrics, Ownership, Parts as ApiParts, PassThrough, Peer, ProposalNames, QueryAccessToken,
    RelayParts, Tenant,
};
use tintype_domain::{Clock, OsRandomness, OwnedServerName, Randomness, ServerName, SystemClock};
use tintype_federation::{
    AddressFilter, Federation, FederationParts, FetchTimes, Outbound, OutboundParts, Peers, Ports, SigningKey,
};
use tintype_repository::{
    Accounts, Cluster, EphemeralRules, Fate, Freeze, LinkedRules, Local, MediaServer, Membership, NodeId, Parts, Rate,
    Rates, RedirectRules, RemoteRules, RemoteThumbnails, Repository, Rules, ScrubRules, ThumbnailRules, WaitingLimits,
};
use tintype_storage::{
    blobs::Files,
    records::{Quota, Records},
};
use tintype_testing::tls;
use tintype_thumbnails::Limits;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
    task::{JoinSet, spawn_blocking},
};

use crate::nodes::{SECRET, key};

/// As often as a test likes.
const OFTEN: Rate = Rate { per_second: NonZeroU32::MAX, burst: NonZeroU32::MAX };

/// The signing key of all nodes.
const SIGNING_KEY: &str = "ed25519 test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// One node.
pub struct Node {
    pub repository: Repository,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    registry: Registry,
    /// What answers other nodes.
    for_nodes: JoinSet<()>,
    /// What answers clients.
    _for_clients: JoinSet<()>,
    killed: Arc<AtomicBool>,
    /// None, if it was killed.
    runtime: Option<Runtime>,
}

impl Node {
    /// Starts one.
    pub async fn start(database: String, folder: PathBuf, rules: Rules) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let start = move || {
            let mut node = runtime.block_on(Self::on_this_runtime(database, folder, rules));
            node.runtime = Some(runtime);
            node
        };
        spawn_blocking(start).await.unwrap()
    }

    async fn on_this_runtime(database: String, folder: PathBuf, rules: Rules) -> Self {
        let internal = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let records = Records::open_postgres(&database).await.unwrap();
        let advertise = Some(format!("http://{}", internal.local_addr().unwrap()));
        let membership = Membership { advertise, secret: SECRET.to_vec() };
        let cluster = Cluster::join(&records, membership, Arc::new(OsRandomness)).await.unwrap();
        let name: OwnedServerName = ServerName::parse("localhost").unwrap();
        let federation = federation(&name, Arc::clone(&clock));
        let repository = Repository::open_all(Parts {
            records,
            blobs: Files::open_among_others(&folder, &(Arc::new(OsRandomness) as Arc<dyn Randomness>)).unwrap().into(),
            servers: vec![MediaServer {
                name: name.clone(),
                accounts: Accounts::Local(Local),
                admins: Arc::new(BTreeSet::new()),
            }],
            federation: federation.clone(),
            rules,
            clock: Arc::clone(&clock),
            randomness: Arc::new(OsRandomness),
            cluster: Some(cluster),
        });
        let repository = repository.await.unwrap();
        let tenant = Tenant {
            server_name: name,
            hosts: vec!["localhost".to_owned()],
            ownership: Ownership::Ours,
            homeserver: None,
            pass_through: PassThrough::Off,
            homeserver_token: None,
        };
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        repository.register_metrics(&mut registry);
        let parts = ApiParts {
            repository: repository.clone(),
            tenants: vec![tenant],
            federation,
            msc4425: ProposalNames::Stable,
            msc3911: ProposalNames::Unstable,
            trusted_proxies: Vec::new(),
            query_access_token: QueryAccessToken::Accepted,
            body_idle_timeout: Duration::from_mins(1),
            relay: Some(RelayParts { key: key(), randomness: Arc::new(OsRandomness) }),
            request_log: None,
            clock,
            randomness: Arc::new(OsRandomness),
        };
        let endpoints = Endpoints::new(parts, metrics);
        let killed = Arc::new(AtomicBool::new(false));
        let (mut for_clients, mut for_nodes) = (JoinSet::new(), JoinSet::new());
        let (public_address, internal_address) = (public.local_addr().unwrap(), internal.local_addr().unwrap());
        let of_clients = endpoints.clone();
        serve(&mut for_clients, &killed, public, move |request| {
            let endpoints = of_clients.clone();
            async move { endpoints.answer(request, Peer::Address(Ipv4Addr::LOCALHOST.into())).await }
        });
        let of_nodes = endpoints.clone();
        serve(&mut for_nodes, &killed, internal, move |request| {
            let endpoints = of_nodes.clone();
            async move { endpoints.answer_node(request).await }
        });
        for_clients.spawn(async move { endpoints.tell_takings().await });
        Self {
            repository,
            public: public_address,
            internal: internal_address,
            registry,
            for_nodes,
            _for_clients: for_clients,
            killed,
            runtime: None,
        }
    }

    pub fn id(&self) -> NodeId {
        self.repository.node().unwrap()
    }

    /// The value of a metric; `name` is all that stands before it in its line, and 0 what is not there.
    pub fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }

    /// Everything of it stops where it is: connections are cut, and nothing is given back or said to anybody.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.killed.store(true, Ordering::SeqCst);
            runtime.shutdown_background();
        }
    }

    /// Nodes cannot reach this one any more; clients can.
    pub async fn cut_from_nodes(&mut self) {
        self.for_nodes.shutdown().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers who comes there, until the node is killed: the parts of a process that is killed do not see each other end, and say
/// nothing of it.
fn serve<A, F>(serving: &mut JoinSet<()>, killed: &Arc<AtomicBool>, listener: TcpListener, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let killed = Arc::clone(killed);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, killed) = (answer.clone(), Arc::clone(&killed));
            let service = service_fn(move |request: axum::http::Request<hyper::body::Incoming>| {
                let (answer, killed) = (answer(request.map(Body::new)), Arc::clone(&killed));
                async move {
                    let answer = answer.await;
                    if killed.load(Ordering::SeqCst) {
                        pending::<()>().await;
                    }
                    Ok::<_, Infallible>(answer)
                }
            });
            connections.spawn(async move {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// Other servers: those of the test.
fn federation(name: &OwnedServerName, clock: Arc<dyn Clock>) -> Federation {
    let outbound = Outbound::new(OutboundParts {
        filter: AddressFilter::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]),
        extra_roots: vec![tls::authority()],
        nameservers: vec![(Ipv4Addr::LOCALHOST, 1).into()],
        ports: Ports::default(),
        connect_timeout: Duration::from_secs(1),
        clock: Arc::clone(&clock),
        runtime: Handle::current(),
    });
    let minute = Duration::from_mins(1);
    Federation::new(FederationParts {
        outbound: outbound.unwrap(),
        key_servers: Vec::new(),
        peers: Peers::default(),
        signing_keys: BTreeMap::from([(name.clone(), SigningKey::parse(SIGNING_KEY).unwrap())]),
        times: FetchTimes { answer: minute, idle: minute, total: minute },
        clock,
    })
}

/// As much as a test likes of everything.
pub fn rules() -> Rules {
    Rules {
        max_upload_size: 1024 * 1024,
        inline_size: 0,
        gathered_size: 0,
        scrub: ScrubRules { every: None, bytes_per_second: u64::MAX },
        quota: Quota::UNLIMITED,
        max_pending_uploads: 1_000,
        unused_expires_after: Some(Duration::from_hours(1)),
        max_wait: Duration::from_mins(1),
        waiting: WaitingLimits { total: 100, per_user: 100 },
        stream: true,
        limit_info_uri: None,
        rates: Rates {
            create: OFTEN,
            upload: OFTEN,
            download: OFTEN,
            thumbnail: OFTEN,
            authenticate: OFTEN,
            serve_server: OFTEN,
            fetch_server: OFTEN,
            ephemeral: OFTEN,
        },
        freeze: Freeze::Never,
        freeze_exceptions: BTreeSet::new(),
        remote: RemoteRules {
            max_size: 1024 * 1024,
            thumbnails: RemoteThumbnails::FromOrigin,
            answer_time: Duration::from_secs(1),
            cache_bytes: None,
            cache_age: None,
        },
        ephemeral: EphemeralRules { max_age: None, quota: Quota::UNLIMITED },
        linked: LinkedRules {
            unattached_after: Duration::from_hours(24),
            max_attachments: 20,
            block_unrestricted: false,
            unswept_users: BTreeSet::new(),
            redaction_grace: Duration::ZERO,
            unlinked_redaction: Fate::Kept,
            abandoned_rooms: Fate::Kept,
            left_rooms_grace: Duration::ZERO,
        },
        thumbnails: ThumbnailRules {
            threads: NonZeroUsize::new(1),
            queue: 100,
            limits: Limits::default(),
            max_sizes: 10,
        },
        token_cache_time: Duration::from_mins(1),
        redirect: RedirectRules::never(),
        cache_bytes: 1024 * 1024,
        cache_time: Duration::from_mins(1),
    }
}
