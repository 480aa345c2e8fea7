//! Another Matrix server, with a name, TLS and a signing key as a real one has them, that says whatever a test wants.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use ruma_common::CanonicalJsonValue;
use serde_json::{Value, json};
use tintype_domain::{Mxc, OsRandomness, OwnedServerName, Randomness as _, ServerName, Timestamp};
use tintype_federation::{SigningKey, authorization};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{START, Script, port, tls, until};

/// Where a server publishes its keys.
const KEYS: &str = "/_matrix/key/v2/server";

/// How long the keys hold that a peer publishes unasked.
const VALIDITY: Duration = Duration::from_hours(24);

/// What a peer was asked.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
}

/// Another server. It and its connections stop when it is dropped.
///
/// It publishes its keys, and answers everything else with 404 `M_UNRECOGNIZED`, until it is told otherwise.
pub struct Peer {
    name: OwnedServerName,
    key: SigningKey,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// What is said to requests whose target begins so; the last one that fits counts.
    scripts: Mutex<Vec<(String, Script)>>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    answering: AtomicUsize,
}

impl Shared {
    fn scripts(&self) -> MutexGuard<'_, Vec<(String, Script)>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self, target: &str) -> Script {
        let scripts = self.scripts();
        let fitting = scripts.iter().rfind(|(begin, _)| target.starts_with(begin));
        fitting.map_or_else(|| Script::error(404, "M_UNRECOGNIZED"), |(_, script)| script.clone())
    }
}

impl Peer {
    /// Starts one with the name `PREFIX.localhost:PORT`, at 127.0.0.1.
    pub async fn start(prefix: &str) -> Self {
        Self::listen(Ipv4Addr::LOCALHOST.into(), &format!("{prefix}.localhost")).await
    }

    /// Starts one whose name is this address, with a port.
    pub async fn at(address: [u8; 4]) -> Self {
        let address = Ipv4Addr::from(address);
        Self::listen(address.into(), &address.to_string()).await
    }

    async fn listen(address: IpAddr, host: &str) -> Self {
        let port = port::free_at(address);
        let listener = TcpListener::bind(SocketAddr::new(address, port)).await.expect("the port is free");
        let name = ServerName::parse(format!("{host}:{port}")).expect("a test names a valid host");
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls::acceptor(host), Arc::clone(&shared)));
        let peer = Self { name, key: signing_key(), shared, _tasks: tasks };
        let keys = peer.key_document(START + VALIDITY);
        peer.says(KEYS, Script::json(200, &keys));
        peer
    }

    /// Its name.
    pub fn name(&self) -> &OwnedServerName {
        &self.name
    }

    /// Its signing key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.name)
    }

    /// Media of it.
    ///
    /// # Panics
    /// If the ID is not valid.
    pub fn mxc(&self, media_id: &str) -> Mxc {
        format!("mxc://{}/{media_id}", self.name).parse().expect("a test names a valid ID")
    }

    /// From now on this is the answer to all requests whose target begins so.
    pub fn says(&self, begin: &str, script: Script) {
        self.shared.scripts().push((begin.to_owned(), script));
    }

    /// From now on this is what it publishes as its keys.
    pub fn publishes(&self, script: Script) {
        self.says(KEYS, script);
    }

    /// The document with its key that holds until then, signed.
    pub fn key_document(&self, valid_until: Timestamp) -> Value {
        self.signed(json!({
            "server_name": self.name.as_str(),
            "valid_until_ts": valid_until.as_millis(),
            "verify_keys": { self.key.id(): { "key": self.key.public_key() } },
            "old_verify_keys": {},
        }))
    }

    /// The same object with its signature.
    ///
    /// # Panics
    /// If that is no object of canonical JSON.
    pub fn signed(&self, object: Value) -> Value {
        let Ok(CanonicalJsonValue::Object(mut object)) = CanonicalJsonValue::try_from(object) else {
            panic!("a test signs objects")
        };
        self.key.sign(&self.name, &mut object).expect("the object can be signed");
        serde_json::to_value(object).expect("the object can be written")
    }

    /// The `Authorization` of a `GET` request of it.
    ///
    /// # Panics
    /// If it cannot be signed.
    pub fn authorization(&self, destination: &ServerName, target: &str) -> HeaderValue {
        authorization(&self.key, &self.name, destination, "GET", target).expect("the request can be signed")
    }

    /// Each request that came whose target begins so, in order.
    pub fn received(&self, begin: &str) -> Vec<Received> {
        let received = self.shared.received();
        received.iter().filter(|received| received.target.starts_with(begin)).cloned().collect()
    }

    /// How often its keys were asked for.
    pub fn key_requests(&self) -> usize {
        self.received(KEYS).len()
    }

    /// How many connections were made to it, whether or not anything was asked on them.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until nobody listens to an answer any more that has no end.
    pub async fn is_left_alone(&self) {
        until("nobody listens to the peer", async || self.shared.answering.load(Ordering::Relaxed) == 0).await;
    }

    /// Waits until a request whose target begins so has come.
    pub async fn is_asked(&self, begin: &str) {
        until("the peer is asked", async || !self.received(begin).is_empty()).await;
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            if let Ok(stream) = tls.accept(tcp).await {
                converse(stream, &shared).await;
            }
        });
    }
}

/// One connection, until either end has enough.
async fn converse(mut stream: TlsStream<TcpStream>, shared: &Shared) {
    let mut ahead = BytesMut::new();
    loop {
        let end = loop {
            if let Some(end) = ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !matches!(stream.read_buf(&mut ahead).await, Ok(1..)) {
                return;
            }
        };
        let received = parse(&ahead.split_to(end));
        let script = shared.script(&received.target);
        shared.received().push(received);
        shared.answering.fetch_add(1, Ordering::Relaxed);
        let played = script.play(stream).await;
        shared.answering.fetch_sub(1, Ordering::Relaxed);
        match played {
            Ok(played) => stream = played,
            Err(_) => return,
        }
    }
}

/// Reads the head of a request. Those of a server have no body.
fn parse(head: &[u8]) -> Received {
    let text = std::str::from_utf8(head).expect("a server sends ASCII");
    let mut lines = text.lines();
    let mut request = lines.next().unwrap_or_default().split(' ');
    let mut word = || request.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a server sends valid headers");
        (name, HeaderValue::from_str(value).expect("a server sends valid headers"))
    });
    Received { method, target, headers: headers.collect() }
}

fn signing_key() -> SigningKey {
    let mut seed = [0; 32];
    OsRandomness.fill(&mut seed);
    let seed = base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, seed);
    SigningKey::parse(&format!("ed25519 peer {seed}")).expect("any seed is a key")
}
