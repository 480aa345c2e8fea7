//! The server under test, on a folder and a port of its own, in the [`Profile`] that the tests run in.

mod nodes;
mod seen;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tempfile::TempDir;
use tintype::{Address, config::Config};
use tintype_domain::{
    Clock as _, ContentHash, ManualClock, OsRandomness, OwnedServerName, OwnedUserId, Randomness as _, Timestamp,
};
use tintype_services::Database;
use tintype_storage::records::{Records, TokenRecord};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::rustls::pki_types::CertificateDer;

use self::nodes::{Nodes, Plan};
use crate::{
    Client, Connection, Profile,
    client::Target,
    port,
    profile::say,
    stores::Installation,
    tls::{self, CHAIN_FILE, Certificate, KEY_FILE},
    wait::PATIENCE,
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

/// A running server: one node, or several behind a balancer. What it keeps is removed when it is dropped.
pub struct TestServer {
    nodes: Nodes,
    plan: Plan,
    clock: Arc<ManualClock>,
    installation: Installation,
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
        Self::made_of(Profile::asked_for(), config).await
    }

    /// The same, of these parts, whatever the tests run on.
    ///
    /// # Panics
    /// As [`with`](Self::with) does.
    pub async fn made_of(profile: Profile, config: &str) -> Self {
        Box::pin(Self::in_installation(Installation::new(new_folder(), profile).await, config)).await
    }

    /// Starts a server that other servers of this test can reach under a name of its own, `PREFIX.localhost:PORT`: with
    /// TLS there, and without TLS on another port for its clients. It trusts the certificates of its kind, and connects
    /// to loopback addresses, unless `federation.allow_addresses` says where else. The configuration is laid beside that:
    /// keys with dots, no tables; `{port}` in it is the port with TLS.
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
        let folder = new_folder();
        let port = port::free();
        let hosts = prefixes.iter().map(|prefix| format!("{prefix}.localhost")).collect::<Vec<_>>();
        let names = hosts.iter().map(|host| format!("{{ name = '{host}:{port}' }}")).collect::<Vec<_>>();
        let config = config.replace("{port}", &port.to_string());
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
        Box::pin(Self::in_installation(Installation::new(folder, Profile::asked_for()).await, &config)).await
    }

    async fn in_installation(installation: Installation, config: &str) -> Self {
        Self::with_clock(installation, config, Arc::new(ManualClock::new(START))).await
    }

    async fn with_clock(installation: Installation, config: &str, clock: Arc<ManualClock>) -> Self {
        let plan = Plan::of(&installation, config);
        let nodes = plan.launch(&clock).await.expect("the server starts");
        Self { nodes, plan, clock, installation }
    }

    /// Starts a second server on the same folder.
    ///
    /// # Errors
    /// What an operator would read, if it does not start.
    pub async fn start_another_beside(&self) -> Result<(), String> {
        self.plan.launch(&self.clock).await.map(drop).map_err(|error| format!("{error:#}"))
    }

    /// Stops the server in order and starts it again, on the same folder and at the same address.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub async fn restart(self) -> Self {
        let Self { nodes, mut plan, clock, installation } = self;
        plan.stay_where(&nodes);
        nodes.drain().await;
        let nodes = plan.launch(&clock).await.expect("the server starts again");
        Self { nodes, plan, clock, installation }
    }

    /// Stops the server in order and starts it again with another configuration, on the same folder.
    ///
    /// # Panics
    /// As [`with`](Self::with) does.
    pub async fn reconfigured(self, config: &str) -> Self {
        let clock = Arc::clone(&self.clock);
        let installation = self.drain().await;
        Self::with_clock(installation, config, clock).await
    }

    /// Stops the server in order. What is returned keeps what it has.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn drain(self) -> Installation {
        self.nodes.drain().await;
        self.installation
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
        &self.config().server[0].name
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
        certificate.write(self.installation.folder.path()).expect("the certificate can be written");
    }

    /// A new connection, on which nothing was sent.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address()).await
    }

    /// Moves the server's clock.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// What time it is for the server.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Has everybody who comes by the balancer reach the first node from now on, and says so on a line that
    /// `cargo xtask test` counts: for what each node does by itself, as the book says.
    pub fn is_at_one_node(&self, reason: &str) {
        if self.installation.profile.nodes() > 1 {
            say("at one node", reason);
            self.plan.stay_at_one_node(&self.nodes);
        }
    }

    /// The same client, on its way to one of the nodes.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn at_node(&self, client: &Client, index: usize) -> Client {
        client.by_way_of(Target::Tcp(self.nodes.address_of(index)))
    }

    /// The records, opened as every command of the program opens them.
    pub(crate) async fn records(&self) -> Records {
        tintype::records(self.config()).await.expect("the database can be opened")
    }

    /// The file of the SQLite database.
    ///
    /// # Panics
    /// If it has another one.
    pub(crate) fn database_path(&self) -> PathBuf {
        self.config().database_path().expect("the server has SQLite")
    }

    /// The URL of the PostgreSQL database, if it has one.
    pub(crate) fn database_url(&self) -> Option<String> {
        self.installation.database.as_ref().map(Database::url)
    }

    /// The configuration of the first node.
    fn config(&self) -> &Config {
        &self.plan.configs[0]
    }

    fn address(&self) -> SocketAddr {
        let tcp = self.nodes.addresses().iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Tls(_) | Address::Unix(_) => None,
        });
        tcp.expect("the server listens on TCP")
    }

    fn tls_address(&self) -> SocketAddr {
        let tls = self.nodes.addresses().iter().find_map(|address| match address {
            Address::Tls(address) => Some(*address),
            Address::Tcp(_) | Address::Unix(_) => None,
        });
        tls.expect("the server speaks TLS")
    }

    async fn account(&self, name: &str, kind: Kind) -> Client {
        let user_id = match name.strip_prefix('@') {
            Some(_) => name.to_owned(),
            None => format!("@{name}:{}", self.config().server[0].name),
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
        let records = self.records().await;
        records.insert_token(record).await.expect("the token can be kept");
        records.close().await;
        Client::new(Target::Tcp(self.address()), Some(token))
    }
}

fn new_folder() -> TempDir {
    TempDir::new().expect("there is room for a folder")
}
