//! `tintype doctor`

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use axum::http::Method;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tintype_domain::{Clock as _, SystemClock};
use tintype_testing::{
    FakeHomeserver,
    tls::{Certificate, authority_pem},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UdpSocket,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::installation::{Installation, Ran};

/// The line about `what`.
fn line<'a>(ran: &'a Ran, what: &str) -> &'a str {
    ran.stdout.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("nothing on {what} in {ran:?}"))
}

/// The configuration beside a homeserver whose name leads to where nothing is connected to. So nobody else is asked.
fn beside(homeserver: &FakeHomeserver) -> String {
    homeserver.config().replace("example.org", "127.0.0.1:1")
}

async fn doctor(installation: Installation) -> Ran {
    // The homeserver of these tests lives on this thread's runtime.
    tokio::task::spawn_blocking(move || installation.run(&["doctor"])).await.expect("it ends")
}

#[test]
fn a_sound_installation_has_a_line_for_each_part() {
    let ran = Installation::empty().run(&["doctor"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    for what in ["database", "blobs", "removals", "signing key of localhost"] {
        assert!(line(&ran, what).starts_with("ok "), "{ran:?}");
    }
}

#[tokio::test]
async fn a_running_server_can_be_examined() {
    let installation = Installation::with("");
    let _serving = installation.serve().await;

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn a_key_that_the_running_server_does_not_publish_is_found() {
    let installation = Installation::with("");
    let serving = installation.serve().await;
    let address = serving.address().unwrap();
    installation.write("tintype.toml", &format!("http.listen = ['{address}']\ntelemetry.listen = '127.0.0.1:0'"));

    let published = installation.run(&["doctor"]);
    fs::remove_file(installation.path().join("tintype-data/localhost.signing.key")).unwrap();
    let lost = installation.run(&["doctor"]);

    assert_eq!(published.code, Some(0), "{published:?}");
    assert!(line(&published, "published key").contains("shows ed25519:"), "{published:?}");
    assert_eq!(lost.code, Some(1), "{lost:?}");
    assert!(line(&lost, "published key").starts_with("FAIL "), "{lost:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_found_and_the_rest_is_still_tried() {
    let installation = Installation::empty();
    fs::create_dir(installation.path().join("tintype-data")).unwrap();
    installation.write("tintype-data/media", "this is a file");

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "blobs").starts_with("FAIL "), "{ran:?}");
    assert!(line(&ran, "database").starts_with("ok "), "{ran:?}");
    assert!(line(&ran, "signing key").starts_with("ok "), "{ran:?}");
}

#[test]
fn a_file_that_is_no_database_is_found() {
    let installation = Installation::empty();
    fs::create_dir(installation.path().join("tintype-data")).unwrap();
    installation.write("tintype-data/tintype.db", &"this is no database ".repeat(1000));

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "database").starts_with("FAIL "), "{ran:?}");
}

/// A file that was to be removed so many minutes ago, as a server leaves it whose storage refuses.
async fn owe_a_removal(installation: &Installation, minutes: i64) {
    let database = installation.path().join("tintype-data/tintype.db");
    let database = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(database)).await;
    let mut database = database.expect("the database can be opened");
    sqlx::query("INSERT INTO removals (location, queued_at) VALUES ($1, $2)")
        .bind(format!("{}-001122334455", "ab".repeat(32)))
        .bind(SystemClock.now().as_millis() - minutes * 60_000)
        .execute(&mut database)
        .await
        .expect("the row can be written");
    database.close().await.expect("the database closes");
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_is_found_after_ten_minutes() {
    for (minutes, code, grade) in [(2, 0, "ok "), (25, 1, "FAIL ")] {
        let installation = Installation::empty();
        assert_eq!(installation.run(&["doctor"]).code, Some(0));
        owe_a_removal(&installation, minutes).await;

        let ran = installation.run(&["doctor"]);

        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(line(&ran, "removals").starts_with(grade), "{ran:?}");
        assert!(line(&ran, "removals").contains("removed: 1"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_homeserver_that_refuses_an_unknown_token_is_sound() {
    let homeserver = FakeHomeserver::start().await;

    let ran = doctor(Installation::with(&beside(&homeserver))).await;

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(line(&ran, "homeserver of 127.0.0.1:1").starts_with("ok "), "{ran:?}");
}

#[tokio::test]
async fn a_homeserver_that_answers_anything_else_is_found() {
    for (status, body) in [
        (200, r#"{"user_id":"@anybody:example.org"}"#),
        (200, "<html>Welcome</html>"),
        (403, r#"{"errcode":"M_FORBIDDEN","error":"No"}"#),
        (404, r#"{"errcode":"M_UNRECOGNIZED","error":"?"}"#),
        (502, "Bad gateway"),
    ] {
        let homeserver = FakeHomeserver::start().await;
        homeserver.always_answers(status, &[], body);
        let ran = doctor(Installation::with(&beside(&homeserver))).await;
        assert_eq!(ran.code, Some(1), "{status} {body}: {ran:?}");
        assert!(line(&ran, "homeserver of 127.0.0.1:1").starts_with("FAIL "), "{ran:?}");
        assert!(line(&ran, "database").starts_with("ok "), "{ran:?}");
    }
}

#[tokio::test]
async fn a_homeserver_that_is_down_is_found() {
    let homeserver = FakeHomeserver::start().await;
    let config = beside(&homeserver);
    homeserver.stop().await;

    let ran = doctor(Installation::with(&config)).await;

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "homeserver of 127.0.0.1:1").starts_with("FAIL "), "{ran:?}");
}

#[tokio::test]
async fn a_homeserver_that_requests_are_passed_on_to_has_to_be_one() {
    for (versions, grade) in [(json!({ "versions": ["v1.10", "v1.11"] }), "ok "), (json!({ "versions": [] }), "FAIL ")]
    {
        let homeserver = FakeHomeserver::start().await;
        homeserver.answers(Method::GET, "/_matrix/client/versions", 200, &versions);

        let ran = doctor(Installation::with(&format!("{}pass_through = true\n", beside(&homeserver)))).await;

        assert!(line(&ran, "passing on to 127.0.0.1:1").starts_with(grade), "{ran:?}");
    }
}

/// What a server on loopback needs to be found: everything else is where the internet would be.
fn on_loopback(installation: &Installation, rest: &str) {
    installation.write("authority.pem", &authority_pem());
    let authority = installation.path().join("authority.pem").display().to_string();
    let text = format!(
        "telemetry.listen = '127.0.0.1:0'
         federation.extra_ca_files = ['{authority}']
         federation.allow_addresses = ['127.0.0.0/8']
         {rest}"
    );
    installation.write("tintype.toml", &text);
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("the socket is bound")
}

/// A server that others reach at its own name.
fn reachable() -> (Installation, SocketAddr) {
    let installation = Installation::empty();
    let certificate = Certificate::of(&["127.0.0.1"]);
    installation.write("chain.pem", &certificate.chain_pem);
    installation.write("key.pem", &certificate.key_pem);
    let path = |name| installation.path().join(name).display().to_string();
    let (chain, key) = (path("chain.pem"), path("key.pem"));
    let address = free_address();
    on_loopback(
        &installation,
        &format!(
            "http.listen = ['127.0.0.1:0']
             http.tls_listen = ['{address}']
             http.tls_certificate_file = '{chain}'
             http.tls_private_key_file = '{key}'
             [[server]]
             name = '{address}'"
        ),
    );
    (installation, address)
}

/// What stands in front of a homeserver and forgets media: it answers each connection once, by the path.
struct Front {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Front {
    async fn start(answer: impl Fn(&str) -> (u16, &'static str) + Send + 'static) -> Self {
        let certificate = Certificate::of(&["127.0.0.1"]);
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("it is a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der], key)
            .expect("the key is the certificate's");
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("the socket is bound");
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(stream) = tls.accept(tcp).await else { continue };
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("a request comes");
                let (status, body) = answer(line.split(' ').nth(1).expect("it has a target"));
                let length = body.len();
                let text = format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(text.as_bytes()).await.expect("somebody waits for it");
                // The other end may be gone.
                let _ = stream.shutdown().await;
            }
        });
        Self { address, task }
    }

    /// An installation whose homeserver is behind it.
    fn installation(&self, homeserver: &FakeHomeserver) -> Installation {
        let installation = Installation::empty();
        let servers = homeserver.config().replace("example.org", &self.address.to_string());
        on_loopback(&installation, &format!("http.listen = ['127.0.0.1:0']\n{servers}"));
        installation
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn what_others_see_of_a_server_is_tried() {
    let (installation, address) = reachable();
    let _serving = installation.serve().await;

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (what, text) in [
        ("discovery of", format!("step 1, at {address}, Host {address}, certificate of 127.0.0.1").as_str()),
        ("federation of", "Tintype"),
        ("key that others find", "ed25519:"),
        ("media that others find", "come to Tintype"),
    ] {
        assert!(line(&ran, what).starts_with("ok ") && line(&ran, what).contains(text), "{ran:?}");
    }
}

#[test]
fn a_server_that_is_not_reached_from_here_is_no_failure() {
    let (installation, _) = reachable();

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(line(&ran, "federation of").starts_with("note "), "{ran:?}");
}

#[tokio::test]
async fn a_certificate_that_others_do_not_trust_is_found() {
    let (installation, _) = reachable();
    let certificate = Certificate::of(&["example.org"]);
    installation.write("chain.pem", &certificate.chain_pem);
    installation.write("key.pem", &certificate.key_pem);
    let _serving = installation.serve().await;

    let ran = installation.run(&["doctor"]);

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "federation of").contains("FAIL"), "{ran:?}");
    assert!(line(&ran, "federation of").contains("TLS"), "{ran:?}");
}

#[tokio::test]
async fn a_proxy_that_forgets_media_of_other_servers_is_found() {
    for (status, body) in [(404, r#"{"errcode":"M_UNRECOGNIZED"}"#), (404, "<html>Not found"), (200, "Welcome")] {
        let homeserver = FakeHomeserver::start().await;
        let front = Front::start(move |path| match path {
            "/_matrix/federation/v1/version" => (200, r#"{"server":{"name":"Synapse","version":"1.0"}}"#),
            _ => (status, body),
        })
        .await;

        let ran = doctor(front.installation(&homeserver)).await;

        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(line(&ran, "federation of").ends_with("Synapse 1.0 answers"), "{ran:?}");
        assert!(line(&ran, "key that others find").starts_with("FAIL "), "{ran:?}");
        assert!(line(&ran, "media that others find").starts_with("FAIL "), "{ran:?}");
        assert!(line(&ran, "media that others find").contains("does the proxy send"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_homeserver_that_answers_for_media_itself_is_not_taken_for_this_server() {
    let homeserver = FakeHomeserver::start().await;
    let front = Front::start(|path| match path {
        "/_matrix/federation/v1/version" => (200, "{}"),
        _ => (401, r#"{"errcode":"M_UNAUTHORIZED","error":"Missing Authorization headers"}"#),
    })
    .await;

    let ran = doctor(front.installation(&homeserver)).await;

    assert!(line(&ran, "media that others find").starts_with("note "), "{ran:?}");
}

#[tokio::test]
async fn a_homeserver_whose_key_is_not_known_is_noted() {
    let homeserver = FakeHomeserver::start().await;

    let ran = doctor(Installation::with(&beside(&homeserver))).await;

    assert!(line(&ran, "signing key").starts_with("note "), "{ran:?}");
}

#[tokio::test]
async fn a_key_of_a_homeserver_is_not_made_here() {
    let homeserver = FakeHomeserver::start().await;
    let installation = Installation::with(&format!("{}signing_key_file = 'its.key'", beside(&homeserver)));
    let file = installation.path().join("its.key");

    let (ran, is_there) =
        tokio::task::spawn_blocking(move || (installation.run(&["doctor"]), file.exists())).await.unwrap();

    assert!(line(&ran, "signing key").starts_with("FAIL "), "{ran:?}");
    assert!(!is_there);
}

/// A name server that knows no name.
async fn ignorant_name_server() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = socket.local_addr().expect("the socket is bound");
    let task = tokio::spawn(async move {
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message).await {
            // What was asked comes back as a response (RFC 1035 §4.1.1) that the name does not exist.
            message[2] |= 0x80;
            message[3] = 3;
            socket.send_to(&message[..length], from).await.expect("it can be sent");
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_found() {
    let (name_server, task) = ignorant_name_server().await;
    let config = format!("federation.nameservers = ['{name_server}']\n[[server]]\nname = 'example.org'");

    let ran = doctor(Installation::with(&config)).await;

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "discovery of example.org").starts_with("FAIL "), "{ran:?}");
    task.abort();
}

const APPSERVICE: &str = "admins = ['@root:127.0.0.1:1']\nappservice_token = 'as'\nhomeserver_token = 'hs'\n";

/// A homeserver that knows the application service, and says so of whoever it acts as.
async fn with_appservice(acts_as: &str, ping: u16) -> Ran {
    let homeserver = FakeHomeserver::start().await;
    homeserver.knows("as", json!({ "user_id": "@tintype:127.0.0.1:1" }));
    let whoami = "/_matrix/client/v3/account/whoami";
    homeserver.answers_to(Method::GET, whoami, Some("@root:127.0.0.1:1"), 200, &json!({ "user_id": acts_as }));
    let answer = json!({ "errcode": "M_CONNECTION_FAILED", "error": "no connection" });
    homeserver.answers(Method::POST, "/_matrix/client/v1/appservice/tintype/ping", ping, &answer);
    doctor(Installation::with(&format!("{}{APPSERVICE}", beside(&homeserver)))).await
}

#[tokio::test]
async fn an_application_service_that_the_homeserver_knows_and_reaches_is_sound() {
    let ran = with_appservice("@root:127.0.0.1:1", 200).await;

    assert!(line(&ran, "application service of 127.0.0.1:1").starts_with("ok "), "{ran:?}");
}

#[tokio::test]
async fn an_application_service_that_is_not_reached_is_noted() {
    let ran = with_appservice("@root:127.0.0.1:1", 502).await;

    let line = line(&ran, "application service of");
    assert!(line.starts_with("note ") && line.contains("no connection"), "{ran:?}");
}

#[tokio::test]
async fn an_application_service_that_may_not_act_as_users_is_found() {
    let ran = with_appservice("@tintype:127.0.0.1:1", 200).await;

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "application service of").starts_with("FAIL "), "{ran:?}");
}

#[tokio::test]
async fn an_application_service_that_the_homeserver_does_not_know_is_found() {
    let homeserver = FakeHomeserver::start().await;

    let ran = doctor(Installation::with(&format!("{}{APPSERVICE}", beside(&homeserver)))).await;

    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(line(&ran, "application service of").starts_with("FAIL "), "{ran:?}");
}
