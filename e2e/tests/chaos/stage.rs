//! Where a run takes place: nodes behind a balancer, `PostgreSQL` and `SeaweedFS` behind ways that can be cut, and another
//! server.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use e2e::{certificates::Authority, folder::Folder, port, synapse, tintype::Tintype};
use tintype_services::{Bucket, Postgres, SeaweedFs};
use tokio::{sync::Mutex as AsyncMutex, task, time};

use crate::{
    client::{Outcome, PATIENCE, Request, Sending, ask},
    faults::{Fault, WayOf},
    node::{Node, Ports},
    plan::{Content, NODES, Pace, REMOTE, Target, USERS},
    way::{Mode, Way},
};

/// How often it is looked after nodes, and whether something is so by now: there is no event to wait for across processes.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long it may take until all is up.
const UP_WITHIN: Duration = Duration::from_secs(40);

const SECRET: &str = "what all nodes know, and nobody else does";

/// All that a run needs.
#[derive(Debug)]
pub struct Stage {
    pub nodes: Vec<AsyncMutex<Node>>,
    ports: Vec<Ports>,
    pub tokens: Vec<String>,
    /// The media of another server.
    pub remote: Vec<(String, Content)>,
    ways: Vec<Ways>,
    balancer: Way,
    _servers: Way,
    postgres: Arc<Mutex<Postgres>>,
    store: Arc<Mutex<SeaweedFs>>,
    pub bucket: Bucket,
    // What they need ends with them.
    _origin: Tintype,
    _authority: Authority,
    _shared: Folder,
}

#[derive(Debug)]
struct Ways {
    database: Way,
    store: Way,
    node: Way,
}

impl Stage {
    /// Starts everything, and waits until it is there.
    pub async fn set(seed: u64) -> Arc<Self> {
        let (postgres, store) =
            tokio::join!(task::spawn_blocking(Postgres::start), task::spawn_blocking(SeaweedFs::start));
        let (postgres, store) = (postgres.expect("it starts"), store.expect("it starts"));
        let bucket = store.bucket();
        let store_port = bucket.endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
        let store_port = store_port.expect("an endpoint has a port");
        let (authority, shared) = (Authority::new(), Folder::new("shared"));
        let name_port = port::free();
        let ports = (0..NODES).map(|_| Ports::free()).collect::<Vec<_>>();

        let (mut nodes, mut ways) = (Vec::new(), Vec::new());
        for (number, ports) in ports.iter().enumerate() {
            let way = Ways {
                database: Way::to(vec![postgres.port()]).await,
                store: Way::to(vec![store_port]).await,
                node: Way::to(vec![ports.nodes]).await,
            };
            let text = configuration(*ports, &way, &bucket, name_port, &authority, &shared);
            nodes.push(AsyncMutex::new(Node::new(number, *ports, &text)));
            ways.push(way);
        }
        let balancer = Way::to(ports.iter().map(|ports| ports.clients).collect()).await;
        let servers = Way::at(name_port, ports.iter().map(|ports| ports.servers).collect()).await;

        let (origin, remote) = origin(seed, &authority).await;
        let mut tokens = Vec::new();
        for user in 0..USERS {
            tokens.push(nodes[0].lock().await.token(&format!("user-{user}")));
        }
        let stage = Self {
            nodes,
            ports,
            tokens,
            remote,
            ways,
            balancer,
            _servers: servers,
            postgres: Arc::new(Mutex::new(postgres)),
            store: Arc::new(Mutex::new(store)),
            bucket,
            _origin: origin,
            _authority: authority,
            _shared: shared,
        };
        for node in &stage.nodes {
            node.lock().await.start();
        }
        stage.is_up().await;
        stage.is_known_elsewhere().await;
        Arc::new(stage)
    }

    /// Has the other server ask for the keys of this one. If it did so for the first time while all nodes are away, it would
    /// leave them alone for longer than a run takes.
    async fn is_known_elsewhere(&self) {
        let (uri, _) = self.remote.last().expect("there is one more than is played with");
        let target = format!("/_matrix/client/v1/media/download/{}", uri.trim_start_matches("mxc://"));
        let request = Request { method: "GET", target: &target, token: &self.tokens[0], headers: "", body: None };
        let read = ask(self.port(Target::Any), request, PATIENCE).await;
        assert!(matches!(&read, Outcome::Answered(answer) if answer.status == 200), "{read:?}");
    }

    /// Waits until all nodes are ready, starting again those that have ended.
    pub async fn is_up(&self) {
        let up = time::timeout(UP_WITHIN, async {
            for node in &self.nodes {
                loop {
                    let mut node = node.lock().await;
                    if node.is_ready().await {
                        break;
                    }
                    node.look_after();
                    drop(node);
                    time::sleep(LOOK_EVERY).await;
                }
            }
        });
        if up.await.is_err() {
            for node in &self.nodes {
                eprintln!("{}", node.lock().await.log());
            }
            panic!("not all nodes are ready after {UP_WITHIN:?}");
        }
    }

    /// Starts again what ends by itself, for ever.
    pub async fn look_after_nodes(&self) {
        loop {
            for node in &self.nodes {
                node.lock().await.look_after();
            }
            time::sleep(LOOK_EVERY).await;
        }
    }

    /// The port of who is to be asked.
    pub fn port(&self, target: Target) -> u16 {
        match target {
            Target::Node(node) => self.ports[node].clients,
            Target::Any => self.balancer.port(),
        }
    }

    /// Breaks something for so long.
    pub async fn suffer(&self, fault: Fault, lasts: Duration) {
        match fault {
            Fault::Killed(node) => {
                self.nodes[node].lock().await.kill();
                time::sleep(lasts).await;
                self.nodes[node].lock().await.start();
            }
            Fault::Paused(node) => {
                self.nodes[node].lock().await.pause();
                time::sleep(lasts).await;
                self.nodes[node].lock().await.go_on();
            }
            Fault::NoDatabase => {
                self.ways.iter().for_each(|ways| ways.database.cut(Mode::Closed));
                let stopped = Arc::clone(&self.postgres);
                blocking(move || stopped.lock().expect("nobody panics with it").stop()).await;
                time::sleep(lasts).await;
                let started = Arc::clone(&self.postgres);
                blocking(move || started.lock().expect("nobody panics with it").start_again()).await;
                self.ways.iter().for_each(|ways| ways.database.turn(Mode::Open));
            }
            Fault::NoStore => {
                self.ways.iter().for_each(|ways| ways.store.cut(Mode::Closed));
                let stopped = Arc::clone(&self.store);
                blocking(move || stopped.lock().expect("nobody panics with it").stop()).await;
                time::sleep(lasts).await;
                let started = Arc::clone(&self.store);
                blocking(move || started.lock().expect("nobody panics with it").start_again()).await;
                self.ways.iter().for_each(|ways| ways.store.turn(Mode::Open));
            }
            Fault::Cut(way) => {
                self.way(way).cut(Mode::Closed);
                time::sleep(lasts).await;
                self.way(way).turn(Mode::Open);
            }
            Fault::Silent(way) => {
                self.way(way).turn(Mode::Silent);
                time::sleep(lasts).await;
                self.way(way).turn(Mode::Open);
            }
        }
    }

    fn way(&self, way: WayOf) -> &Way {
        match way {
            WayOf::Database(node) => &self.ways[node].database,
            WayOf::Store(node) => &self.ways[node].store,
            WayOf::Node(node) => &self.ways[node].node,
        }
    }

    /// Stops all nodes in order, one after the other, and starts them again.
    pub async fn start_again(&self) {
        for node in &self.nodes {
            let mut node = node.lock().await;
            node.stop().await;
            node.start();
        }
        self.is_up().await;
    }

    /// The number of the node that others reach at this URL.
    pub fn node_at(&self, url: &str) -> Option<usize> {
        let port = url.trim_end_matches('/').rsplit(':').next()?.parse::<u16>().ok()?;
        self.ways.iter().position(|ways| ways.node.port() == port)
    }

    /// What the database answers to a query.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let (postgres, query) = (Arc::clone(&self.postgres), query.to_owned());
        let asking = move || postgres.lock().expect("nobody panics with it").rows("postgres", &query);
        let rows = task::spawn_blocking(asking).await.expect("it does not panic");
        rows.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The keys of all objects.
    pub async fn objects(&self) -> Vec<String> {
        let bucket = self.bucket.clone();
        let objects = task::spawn_blocking(move || bucket.objects()).await.expect("the store says what it has");
        objects.into_iter().map(|object| object.key).collect()
    }
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    task::spawn_blocking(work).await.expect("it stops and starts");
}

fn configuration(
    ports: Ports,
    ways: &Ways,
    bucket: &Bucket,
    name_port: u16,
    authority: &Authority,
    shared: &Folder,
) -> String {
    let Ports { clients, servers, nodes, telemetry } = ports;
    let (database, store, node) = (ways.database.port(), ways.store.port(), ways.node.port());
    let Bucket { name, access_key_id, secret_access_key, .. } = bucket;
    let (chain, key, ca) = (authority.chain_file(), authority.private_key_file(), authority.certificate_file());
    let (chain, key, ca) = (chain.display(), key.display(), ca.display());
    let signing = shared.path().join("signing.key");
    let signing = signing.display();
    let unlimited = "{ per_second = 1000000, burst = 1000000 }";
    let cluster = if NODES > 1 {
        format!(
            "[cluster]\nlisten = \"127.0.0.1:{nodes}\"\nadvertise = \"http://127.0.0.1:{node}\"\nsecret = \"{SECRET}\"\n"
        )
    } else {
        String::new()
    };
    format!(
        r#"data_dir = "data"

[http]
listen = ["127.0.0.1:{clients}"]
tls_listen = ["127.0.0.1:{servers}"]
tls_certificate_file = "{chain}"
tls_private_key_file = "{key}"
drain_timeout = "3s"

[telemetry]
listen = "127.0.0.1:{telemetry}"

[database]
url = "postgres://postgres@127.0.0.1:{database}/postgres?sslmode=disable"

[blobs]
url = "s3://{name}/media"
endpoint = "http://127.0.0.1:{store}"
access_key_id = "{access_key_id}"
secret_access_key = "{secret_access_key}"
path_style = true
scratch = "scratch"

{cluster}
[[server]]
name = "localhost:{name_port}"
signing_key_file = "{signing}"

[federation]
allow_addresses = ["127.0.0.0/8", "::1/128"]
extra_ca_files = ["{ca}"]
request_timeout = "5s"

[ephemeral]
max_user_media = 100000

[limits]
max_pending_uploads = 100000

[limits.rates]
create = {unlimited}
upload = {unlimited}
download = {unlimited}
ephemeral = {unlimited}
authenticate = {unlimited}
fetch_server = {unlimited}
serve_server = {unlimited}
"#
    )
}

/// Another server, with media.
async fn origin(seed: u64, authority: &Authority) -> (Tintype, Vec<(String, Content)>) {
    let old_endpoints = synapse::OldEndpoints::Frozen;
    let federation = synapse::Federation { authority, port: port::free(), old_endpoints };
    let origin = Tintype::start_alone(federation).await;
    let token = origin.token("elsewhere").await;
    let port = origin.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address has a port");
    let mut remote = Vec::new();
    for number in 0..=REMOTE {
        let of = u32::MAX - 1;
        let content = Content { of, number: u32::try_from(number).expect("it is small"), length: 100 + number * 9_000 };
        let (bytes, pace) = (content.bytes(seed), Pace { pieces: 1, pause: Duration::ZERO });
        let body = Some(Sending { bytes: &bytes, pace, breaks_after: None });
        let target = "/_matrix/media/v3/upload";
        let upload = ask(port, Request { method: "POST", target, token: &token, headers: "", body }, PATIENCE).await;
        let Outcome::Answered(answer) = upload else { panic!("the other server does not answer") };
        let uri = answer.json()["content_uri"].as_str().expect("an upload has a URI").to_owned();
        remote.push((uri, content));
    }
    (origin, remote)
}
