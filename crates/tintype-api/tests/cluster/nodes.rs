//! Several nodes on one database of PostgreSQL and one folder, each with a public and an internal port.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tempfile::TempDir;
use tintype_api::{
    Endpoints, HttpMetrics, Ownership, Parts as ApiParts, PassThrough, Peer, ProposalNames, QueryAccessToken,
    RelayParts, Tenant,
};
use tintype_domain::{Clock, ContentHash, OsRandomness, OwnedServerName, OwnedUserId, ServerName, SystemClock};
use tintype_federation::{
    AddressFilter, Federation, FederationParts, FetchTimes, Outbound, OutboundParts, Peers, Ports,
};
use tintype_repository::{
    Accounts, Cluster, ClusterKey, EphemeralRules, Fate, Freeze, LinkedRules, Local, MediaServer, Membership, NodeId,
    Parts, Rate, Rates, RemoteRules, RemoteThumbnails, Repository, Rules, ThumbnailRules, WaitingLimits,
};
use tintype_services::{Database, Postgres};
use tintype_storage::{
    blobs::Files,
    records::{Quota, Records, TokenRecord},
};
use tintype_testing::until;
use tintype_thumbnails::Limits;
use tokio::{net::TcpListener, runtime::Handle, sync::mpsc, task::JoinSet};

pub const SECRET: &[u8] = b"a secret of thirty-two characters";

/// Alice's.
const TOKEN: &str = "token";

/// As often as a test likes.
const OFTEN: Rate = Rate { per_second: NonZeroU32::MAX, burst: NonZeroU32::MAX };

/// All nodes.
pub struct Nodes {
    pub all: Vec<Node>,
    client: Client<HttpConnector, Body>,
    _folder: TempDir,
    _database: Database,
}

/// One of them.
pub struct Node {
    pub repository: Repository,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    registry: Registry,
    serving: JoinSet<()>,
    for_nodes: JoinSet<()>,
}

/// An answer whose body was read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Nodes {
    /// So many nodes that do everything as often as they are asked.
    pub async fn start(count: usize) -> Self {
        Self::with(count, OFTEN).await
    }

    /// So many nodes that give downloads at this rate, all together.
    pub async fn with(count: usize, download: Rate) -> Self {
        let (database, folder) = (Postgres::shared().database(), TempDir::new().unwrap());
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Node::start(&database, &folder, download).await);
        }
        let records = Records::open_postgres(&database.url()).await.unwrap();
        let token = TokenRecord {
            token_sha256: ContentHash::of(TOKEN.as_bytes()),
            user_id: OwnedUserId::try_from("@alice:localhost").unwrap(),
            device_id: "DEVICE".to_owned(),
            guest: false,
            admin: false,
            created_at: SystemClock.now(),
        };
        records.insert_token(token).await.unwrap();
        records.close().await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let nodes = Self { all, client, _folder: folder, _database: database };
        until("all nodes know each other", async || {
            nodes.all.iter().all(|node| node.repository.other_nodes().len() == count - 1)
        })
        .await;
        nodes
    }

    /// The head of the answer of a node to Alice.
    pub async fn begin(
        &self,
        node: usize,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> axum::http::Response<hyper::body::Incoming> {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.all[node].public))
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(body).unwrap()).await.unwrap()
    }

    /// The answer of a node to Alice.
    pub async fn ask(&self, node: usize, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let (parts, body) = self.begin(node, method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, node: usize, path: &str) -> Answer {
        self.ask(node, "GET", path, &[], Body::empty()).await
    }

    /// A URI for a later upload: the ID.
    pub async fn reserve(&self, node: usize) -> String {
        let answer = self.ask(node, "POST", "/_matrix/media/v1/create", &[], Body::empty()).await;
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        json["content_uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    /// Begins to upload to a node, in pieces.
    pub fn sending(&self, node: usize, method: &str, path: &str, headers: &[(&str, &str)]) -> Sending {
        let (pieces, received) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let body = Body::from_stream(futures_util::stream::unfold(received, async |mut received| {
            Some((received.recv().await?, received))
        }));
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.all[node].public))
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = self.client.request(request.body(body).unwrap());
        let answer = tokio::spawn(async move {
            let answer = request.await.map_err(|error| error.to_string())?;
            Ok(answer.status())
        });
        Sending { pieces, answer }
    }
}

/// An upload that is being sent.
pub struct Sending {
    pieces: mpsc::UnboundedSender<Result<Bytes, std::io::Error>>,
    answer: tokio::task::JoinHandle<Result<StatusCode, String>>,
}

impl Sending {
    pub fn send(&self, piece: &'static str) {
        self.pieces.send(Ok(Bytes::from_static(piece.as_bytes()))).unwrap();
    }

    pub async fn finish(self) -> StatusCode {
        drop(self.pieces);
        self.answer.await.unwrap().unwrap()
    }

    /// Breaks off in the middle.
    pub fn break_off(self) {
        let _ = self.pieces.send(Err(std::io::Error::other("broken off")));
        self.answer.abort();
    }
}

impl Node {
    async fn start(database: &Database, folder: &TempDir, download: Rate) -> Self {
        let internal = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let records = Records::open_postgres(&database.url()).await.unwrap();
        let advertise = Some(format!("http://{}", internal.local_addr().unwrap()));
        let membership = Membership { advertise, secret: SECRET.to_vec() };
        let cluster = Cluster::join(&records, membership, Arc::new(OsRandomness)).await.unwrap();
        let name: OwnedServerName = ServerName::parse("localhost").unwrap();
        let federation = federation(Arc::clone(&clock));
        let repository = Repository::open_all(Parts {
            records,
            blobs: Files::open_shared(&folder.path().join("media"), Arc::new(OsRandomness)).unwrap().into(),
            servers: vec![MediaServer {
                name: name.clone(),
                accounts: Accounts::Local(Local),
                admins: Arc::new(BTreeSet::new()),
            }],
            federation: federation.clone(),
            rules: rules(download),
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
            body_idle_timeout: Duration::from_secs(60),
            relay: Some(RelayParts { key: key(), randomness: Arc::new(OsRandomness) }),
            request_log: None,
            clock,
            randomness: Arc::new(OsRandomness),
        };
        let endpoints = Endpoints::new(parts, metrics);
        let (mut serving, mut for_nodes) = (JoinSet::new(), JoinSet::new());
        let (public_address, internal_address) = (public.local_addr().unwrap(), internal.local_addr().unwrap());
        let of_clients = endpoints.clone();
        serve(&mut serving, public, move |request| {
            let endpoints = of_clients.clone();
            async move { endpoints.answer(request, Peer::Address(Ipv4Addr::LOCALHOST.into())).await }
        });
        let of_nodes = endpoints.clone();
        serve(&mut for_nodes, internal, move |request| {
            let endpoints = of_nodes.clone();
            async move { endpoints.answer_node(request).await }
        });
        serving.spawn(async move { endpoints.tell_takings().await });
        Self { repository, public: public_address, internal: internal_address, registry, serving, for_nodes }
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

    /// Nodes cannot reach this one any more; clients can.
    pub async fn cut_from_nodes(&mut self) {
        self.for_nodes.shutdown().await;
    }
}

/// What nodes seal their envelopes with.
pub fn key() -> ClusterKey {
    ClusterKey::new(SECRET, "relay")
}

fn serve<A, F>(serving: &mut JoinSet<()>, listener: TcpListener, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request: axum::http::Request<hyper::body::Incoming>| {
                let answer = answer(request.map(Body::new));
                async move { Ok::<_, Infallible>(answer.await) }
            });
            connections.spawn(async move {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// Other servers, of which none is asked here.
fn federation(clock: Arc<dyn Clock>) -> Federation {
    let outbound = Outbound::new(OutboundParts {
        filter: AddressFilter::new(Vec::new()),
        extra_roots: Vec::new(),
        nameservers: vec![(Ipv4Addr::LOCALHOST, 1).into()],
        ports: Ports::default(),
        connect_timeout: Duration::from_secs(1),
        clock: Arc::clone(&clock),
        runtime: Handle::current(),
    });
    let second = Duration::from_secs(1);
    Federation::new(FederationParts {
        outbound: outbound.unwrap(),
        key_servers: Vec::new(),
        peers: Peers::default(),
        signing_keys: BTreeMap::new(),
        times: FetchTimes { answer: second, idle: second, total: second },
        clock,
    })
}

fn rules(download: Rate) -> Rules {
    Rules {
        max_upload_size: 1024 * 1024,
        inline_size: 0,
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
            download,
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
        token_cache_time: Duration::from_secs(60),
        cache_bytes: 1024 * 1024,
        cache_time: Duration::from_mins(1),
    }
}
