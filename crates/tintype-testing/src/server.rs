//! The server under test, on a folder and a port of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tempfile::TempDir;
use tintype::{
    Address, Server,
    config::{Config, ListenAddress},
};
use tintype_domain::{
    Clock, ContentHash, ManualClock, OsRandomness, OwnedServerName, OwnedUserId, Randomness as _, Timestamp,
};
use tintype_federation::SigningKey;
use tintype_storage::records::{MediaRequests, Records, TokenRecord};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    Client, Connection, Waiting,
    client::Target,
    port,
    tls::{self, CHAIN_FILE, Certificate, KEY_FILE},
    wait::{PATIENCE, until},
};

/// When every test begins: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp(1_767_225_600_000);

/// As often and as many as a test likes.
const UNLIMITED: &str = "\
limits.max_pending_uploads = 1000000
limits.rates.create = { per_second = 1000000, burst = 1000000 }
limits.rates.upload = { per_second = 1000000, burst = 1000000 }
limits.rates.download = { per_second = 1000000, burst = 1000000 }
";

/// The file of the authority that signs the certificates of a test.
const AUTHORITY_FILE: &str = "authority.pem";

/// Where a server of a test may connect to.
const ALLOWED: &str = "federation.allow_addresses";

/// A running server. Its folder is removed when it is dropped.
pub struct TestServer {
    server: Server,
    config: Config,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

enum Kind {
    Ordinary,
    Guest,
}

impl TestServer {
    /// Starts the standalone profile.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts a server with this configuration that takes uploads and gives downloads as often as it is asked.
    pub async fn unlimited(config: &str) -> Self {
        Self::with(&format!("{UNLIMITED}{config}")).await
    }

    /// Starts a server with this configuration: what an operator would write, in TOML. The data folder is the test's,
    /// and the ports are free ones unless they are given.
    ///
    /// # Panics
    /// If the configuration has errors, or the server does not start.
    pub async fn with(config: &str) -> Self {
        Self::in_folder(TempDir::new().expect("there is room for a folder"), config).await
    }

    /// Starts a server that other servers of this test can reach under a name of its own, `PREFIX.localhost:PORT`: with
    /// TLS there, and without TLS on another port for its clients. It trusts the certificates of its kind, and connects
    /// to loopback addresses, unless `federation.allow_addresses` says where else. The configuration is laid beside that:
    /// keys with dots, no tables.
    ///
    /// # Panics
    /// As [`with`](Self::with) does.
    pub async fn federating(prefix: &str, config: &str) -> Self {
        Self::federating_under(&[prefix], config).await
    }

    /// The same with several names in one installation, all of them on one port.
    ///
    /// # Panics
    /// As [`with`](Self::with) does.
    pub async fn federating_under(prefixes: &[&str], config: &str) -> Self {
        let folder = TempDir::new().expect("there is room for a folder");
        let port = port::free();
        let hosts = prefixes.iter().map(|prefix| format!("{prefix}.localhost")).collect::<Vec<_>>();
        let names = hosts.iter().map(|host| format!("{{ name = '{host}:{port}' }}")).collect::<Vec<_>>();
        let certificate = Certificate::of(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
        certificate.write(folder.path()).expect("the certificate can be written");
        fs::write(folder.path().join(AUTHORITY_FILE), tls::authority_pem()).expect("the authority can be written");
        let path = |name: &str| folder.path().join(name);
        let allowed =
            if config.contains(ALLOWED) { String::new() } else { format!("{ALLOWED} = ['127.0.0.0/8', '::1/128']") };
        let config = format!(
            "http.tls_listen = ['127.0.0.1:{port}']
             http.tls_certificate_file = '{}'
             http.tls_private_key_file = '{}'
             federation.extra_ca_files = ['{}']
             {allowed}
             server = [{}]
             {config}",
            path(CHAIN_FILE).display(),
            path(KEY_FILE).display(),
            path(AUTHORITY_FILE).display(),
            names.join(", "),
        );
        Self::in_folder(folder, &config).await
    }

    async fn in_folder(folder: TempDir, config: &str) -> Self {
        Self::with_clock(folder, config, Arc::new(ManualClock::new(START))).await
    }

    async fn with_clock(folder: TempDir, config: &str, clock: Arc<ManualClock>) -> Self {
        let file = folder.path().join("tintype.toml");
        fs::write(&file, config).expect("the configuration can be written");
        let mut config = Config::load(Some(&file), std::iter::empty()).unwrap_or_else(|errors| panic!("{errors}"));
        let defaults = Config::standalone();
        let free_port = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        config.data_dir = folder.path().join("data");
        if config.http.listen == defaults.http.listen {
            config.http.listen = vec![free_port.clone()];
        }
        if config.telemetry.listen == defaults.telemetry.listen {
            config.telemetry.listen = free_port;
        }
        if config.federation.nameservers.is_empty() {
            // Nobody answers there: a test asks no name server that is not its own.
            config.federation.nameservers = vec![(Ipv4Addr::LOCALHOST, 1).into()];
        }
        let server = launch(&config, &clock).await.expect("the server starts");
        Self { server, config, clock, folder }
    }

    /// Starts a second server on the same folder.
    ///
    /// # Errors
    /// What an operator would read, if it does not start.
    pub async fn start_another_beside(&self) -> Result<(), String> {
        launch(&self.config, &self.clock).await.map(drop).map_err(|error| format!("{error:#}"))
    }

    /// Stops the server in order and starts it again, on the same folder and at the same address.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub async fn restart(self) -> Self {
        let Self { server, mut config, clock, folder } = self;
        if let Some(Address::Tcp(address)) = server.addresses().first() {
            config.http.listen = vec![ListenAddress::Tcp(*address)];
        }
        timeout(PATIENCE, Box::pin(server.drain())).await.expect("the server ends");
        let server = launch(&config, &clock).await.expect("the server starts again");
        Self { server, config, clock, folder }
    }

    /// Stops the server in order and starts it again with another configuration, on the same folder.
    ///
    /// # Panics
    /// As [`with`](Self::with) does.
    pub async fn reconfigured(self, config: &str) -> Self {
        let clock = Arc::clone(&self.clock);
        let folder = self.drain().await;
        Self::with_clock(folder, config, clock).await
    }

    /// Stops the server in order. What is returned keeps the folder.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn drain(self) -> TempDir {
        timeout(PATIENCE, Box::pin(self.server.drain())).await.expect("the server ends");
        self.folder
    }

    /// A user of the server (`alice`, or `@alice:example.org` where there are several), with an access token.
    pub async fn user(&self, name: &str) -> Client {
        self.account(name, Kind::Ordinary).await
    }

    /// A guest, with an access token.
    pub async fn guest(&self, name: &str) -> Client {
        self.account(name, Kind::Guest).await
    }

    /// Somebody without an access token.
    pub fn anonymous(&self) -> Client {
        Client::new(Target::Tcp(self.address()), None)
    }

    /// The server's name; the first one, where there are several.
    pub fn name(&self) -> &OwnedServerName {
        &self.config.server[0].name
    }

    /// The same client, over TLS.
    ///
    /// # Panics
    /// If the server does not speak TLS.
    pub fn over_tls(&self, client: &Client) -> Client {
        client.by_way_of(Target::Tls(self.tls_address(), self.name().host().to_owned()))
    }

    /// A new connection to where TLS is spoken, on which nothing was sent.
    ///
    /// # Panics
    /// If the server does not speak TLS.
    pub async fn connect_to_tls_port(&self) -> Connection {
        Connection::open(self.tls_address()).await
    }

    /// The certificate that the server shows.
    ///
    /// # Panics
    /// If it shows none of its name that its authority signed.
    pub async fn shown_certificate(&self) -> CertificateDer<'static> {
        let stream = TcpStream::connect(self.tls_address()).await.expect("the server listens");
        let agreed = timeout(PATIENCE, tls::connect(stream, self.name().host())).await;
        let stream = agreed.expect("the server answers").expect("the server speaks TLS");
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        shown.expect("the server shows a certificate").clone().into_owned()
    }

    /// Puts another certificate in place of the server's.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_certificate(&self, certificate: &Certificate) {
        certificate.write(self.folder.path()).expect("the certificate can be written");
    }

    /// A new connection, on which nothing was sent.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address()).await
    }

    /// Where metrics and health are.
    pub fn telemetry(&self) -> Client {
        let Address::Tcp(address) = self.server.telemetry_address() else { panic!("telemetry is on TCP") };
        Client::new(Target::Tcp(*address), None)
    }

    /// The value of a metric; `name` is all that stands before it in its line, and 0 what is not there.
    ///
    /// # Panics
    /// If it is not a whole number.
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = self.telemetry().get("/metrics").await;
        let text = std::str::from_utf8(metrics.bytes()).expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("the metric is a whole number"))
    }

    /// How many requests to an endpoint, by the name of its label in the metrics, were answered to their end.
    ///
    /// # Panics
    /// If the metrics cannot be read.
    pub async fn requests(&self, endpoint: &str) -> u64 {
        let metrics = self.telemetry().get("/metrics").await;
        let text = std::str::from_utf8(metrics.bytes()).expect("metrics are text");
        let of_endpoint = format!("tintype_http_requests_total{{endpoint=\"{endpoint}\",");
        let lines = text.lines().filter(|line| line.starts_with(&of_endpoint));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// The requests for media that are recorded: what `tintype legacy report` reads.
    ///
    /// # Panics
    /// If the records cannot be read.
    pub async fn recorded_requests(&self) -> Vec<MediaRequests> {
        let records = Records::open_sqlite(&self.database_path()).await.expect("the database can be opened");
        let rows = records.media_requests_since(0).await.expect("the requests can be read");
        records.close().await;
        rows
    }

    /// The key with which the server signs.
    ///
    /// # Panics
    /// If it has none.
    pub fn signing_key(&self) -> SigningKey {
        let file = self.config.signing_key_path(&self.config.server[0]).expect("the server owns its name");
        SigningKey::load(&file).expect("the server has a signing key")
    }

    /// Makes a request of a download that has to wait for its upload, and sees it wait. What is returned is awaited for
    /// the answer; dropping it closes its connection.
    ///
    /// # Panics
    /// If it is answered at once.
    pub async fn waiting<R>(&self, request: R) -> Waiting<R::Output>
    where
        R: IntoFuture,
        R::IntoFuture: Send + 'static,
        R::Output: Send + 'static,
    {
        let before = self.waiting_downloads().await;
        let waiting = Waiting::new(request.into_future());
        until("the download waits", async || {
            let answered = waiting.is_over();
            let waits = self.waiting_downloads().await > before;
            assert!(waits || !answered, "the download was answered at once");
            waits
        })
        .await;
        waiting
    }

    /// How many downloads wait for their upload.
    pub async fn waiting_downloads(&self) -> u64 {
        self.metric("tintype_downloads_waiting").await
    }

    /// Moves the server's clock.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// What time it is for the server.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The file of the database.
    pub(crate) fn database_path(&self) -> PathBuf {
        self.config.database_path().expect("tests that look into the database have SQLite")
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// The blobs that lie in files.
    pub fn blobs(&self) -> Vec<PathBuf> {
        let root = self.config.blobs_path();
        let working = ["tmp", "partial", "pending", "lock"].map(|name| root.join(name));
        files_below(&root).into_iter().filter(|path| !working.iter().any(|other| path.starts_with(other))).collect()
    }

    /// The files of uploads that can be continued.
    pub fn partial_uploads(&self) -> Vec<PathBuf> {
        files_below(&self.config.blobs_path().join("partial"))
    }

    /// Waits until nothing of an interrupted upload is left, and checks that it left no blob either.
    ///
    /// # Panics
    /// If something stays.
    pub async fn holds_nothing(&self) {
        let root = self.config.blobs_path();
        let working = ["tmp", "partial", "pending"].map(|name| root.join(name));
        until("nothing is being received", async || working.iter().all(|folder| files_below(folder).is_empty())).await;
        assert_eq!(self.blobs(), Vec::<PathBuf>::new());
    }

    /// Waits until an upload lies in a temporary file, at least in part.
    pub async fn is_receiving(&self) {
        let folder = self.config.blobs_path().join("tmp");
        until("an upload is being received", async || !files_below(&folder).is_empty()).await;
    }

    fn address(&self) -> SocketAddr {
        let tcp = self.server.addresses().iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Tls(_) | Address::Unix(_) => None,
        });
        tcp.expect("the server listens on TCP")
    }

    fn tls_address(&self) -> SocketAddr {
        let tls = self.server.addresses().iter().find_map(|address| match address {
            Address::Tls(address) => Some(*address),
            Address::Tcp(_) | Address::Unix(_) => None,
        });
        tls.expect("the server speaks TLS")
    }

    async fn account(&self, name: &str, kind: Kind) -> Client {
        let user_id = match name.strip_prefix('@') {
            Some(_) => name.to_owned(),
            None => format!("@{name}:{}", self.config.server[0].name),
        };
        let mut random = [0; 12];
        OsRandomness.fill(&mut random);
        let token = format!("test_{}", BASE64_URL_SAFE_NO_PAD.encode(random));
        let record = TokenRecord {
            token_sha256: ContentHash::of(token.as_bytes()),
            user_id: OwnedUserId::try_from(user_id).expect("a test names a valid user"),
            device_id: "DEVICE".to_owned(),
            guest: matches!(kind, Kind::Guest),
            admin: false,
            created_at: self.clock.now(),
        };
        // As `tintype token` does it: beside the running server.
        let records = Records::open_sqlite(&self.database_path()).await.expect("the database can be opened");
        records.insert_token(record).await.expect("the token can be kept");
        records.close().await;
        Client::new(Target::Tcp(self.address()), Some(token))
    }
}

async fn launch(config: &Config, clock: &Arc<ManualClock>) -> anyhow::Result<Server> {
    let start = Server::start(config, Arc::<ManualClock>::clone(clock) as Arc<dyn Clock>, None);
    // A large future: the configuration, the records and the store are opened in it.
    timeout(PATIENCE, Box::pin(start)).await?
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
