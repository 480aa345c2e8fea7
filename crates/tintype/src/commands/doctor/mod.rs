//! `tintype doctor`: tries everything that the server depends on, and prints a line for each.

mod appservice;
mod elsewhere;

use std::{fmt, process::ExitCode, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use futures_util::future::join_all;
use serde_json::Value;
use tintype_domain::{Clock as _, OsRandomness, SystemClock};
use tintype_federation::{Outbound, SigningKey};
use tintype_homeserver::{Asker, Credentials, Homeserver, HomeserverError, Masquerade, http_client};
use tintype_storage::blobs::Files;
use tokio::{runtime::Handle, time::timeout};
use url::Url;

use super::{ConfigFile, block_on};
use crate::{
    config::{Config, Duration, ListenAddress, ServerConfig},
    wiring,
};

/// How long a homeserver may take for an answer.
const HOMESERVER: Duration = Duration::from_secs(5);

/// How long it may take to connect to one address of another server.
const CONNECT: Duration = Duration::from_secs(2);

/// The longest list of versions, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// After how many minutes a file that is to be removed is stuck. The server tries each minute.
const STUCK_MINUTES: i64 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

/// What was found of one part.
struct Finding {
    what: String,
    outcome: Outcome,
}

enum Outcome {
    Ok(String),
    /// It could not be tried, or it is worth knowing.
    Note(String),
    Failed(String),
}

impl Finding {
    fn new(what: impl Into<String>, outcome: impl Into<Outcome>) -> Self {
        Self { what: what.into(), outcome: outcome.into() }
    }
}

impl From<Result<String, String>> for Outcome {
    fn from(result: Result<String, String>) -> Self {
        result.map_or_else(Self::Failed, Self::Ok)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grade, text) = match &self.outcome {
            Outcome::Ok(text) => ("ok  ", text),
            Outcome::Note(text) => ("note", text),
            Outcome::Failed(text) => ("FAIL", text),
        };
        write!(f, "{grade}  {}: {text}", self.what)
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = impatient(arguments.file.load()?);
    let findings = block_on(async {
        let mut findings = vec![
            Finding::new("database", database(&config).await),
            Finding::new("blobs", blobs(&config).await),
            Finding::new("removals", removals(&config).await),
            Finding::new("damages", damages(&config).await),
        ];
        let outbound = match wiring::outbound(&config, Arc::new(SystemClock), Handle::current()) {
            Ok(outbound) => Some(outbound),
            Err(error) => {
                findings.push(Finding::new("connections to other servers", Err(format!("{error:#}"))));
                None
            }
        };
        let servers = config.server.iter().map(|server| of_server(&config, server, outbound.as_ref()));
        findings.extend(join_all(servers).await.into_iter().flatten());
        Ok(findings)
    })?;
    for finding in &findings {
        println!("{finding}");
    }
    let failed = findings.iter().any(|finding| matches!(finding.outcome, Outcome::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The configuration for somebody who waits at a terminal.
fn impatient(mut config: Config) -> Config {
    let shortened = |time: Duration, most: Duration| if time.get() > most.get() { most } else { time };
    config.authentication.request_timeout = shortened(config.authentication.request_timeout, HOMESERVER);
    config.federation.request_timeout = shortened(config.federation.request_timeout, CONNECT);
    config
}

async fn of_server(config: &Config, server: &ServerConfig, outbound: Option<&Outbound>) -> Vec<Finding> {
    let name = &server.name;
    let (key, key_finding) = match signing_key(config, server) {
        Ok(key) => (Some(key.0), Finding::new(format!("signing key of {name}"), Ok(key.1))),
        Err(outcome) => (None, Finding::new(format!("signing key of {name}"), outcome)),
    };
    let here = async {
        let mut findings = Vec::new();
        if server.homeserver.is_some() {
            findings.push(Finding::new(format!("homeserver of {name}"), homeserver(config, server).await));
            if server.pass_through {
                findings.push(Finding::new(format!("passing on to {name}"), passing_on(config, server).await));
            }
        }
        if let Some(outcome) = appservice::outcome(config, server).await {
            findings.push(Finding::new(format!("application service of {name}"), outcome));
        }
        findings.push(key_finding);
        if let Some(key) = &key {
            findings.push(Finding::new(format!("published key of {name}"), published(config, server, key).await));
        }
        findings
    };
    let elsewhere = async {
        match outbound {
            Some(outbound) => elsewhere::findings(outbound, server, key.as_ref()).await,
            None => Vec::new(),
        }
    };
    let (mut findings, others) = tokio::join!(here, elsewhere);
    findings.extend(others);
    findings
}

/// The key with which media is asked of other servers, and what there is to say of it.
fn signing_key(config: &Config, server: &ServerConfig) -> Result<(SigningKey, String), Outcome> {
    let Some(path) = config.signing_key_path(server) else {
        let text = "there is no signing_key_file, so media of other servers is asked from their old endpoints alone, which \
                    give nothing that was uploaded after they were frozen";
        return Err(Outcome::Note(text.to_owned()));
    };
    // As the server does it: a homeserver's key is the homeserver's to make.
    let key =
        if server.owns_name() { SigningKey::load_or_create(&path, &OsRandomness) } else { SigningKey::load(&path) };
    let key = key.map_err(|error| Outcome::Failed(error.to_string()))?;
    let text = format!("{} in {}", key.id(), path.display());
    Ok((key, text))
}

async fn database(config: &Config) -> Result<String, String> {
    let records = wiring::records(config).await.map_err(|error| format!("{error:#}"))?;
    let answered = records.ping().await.map_err(|error| error.to_string());
    records.close().await;
    let shown =
        config.database_path().map_or_else(|| config.database.url.to_string(), |path| path.display().to_string());
    answered.map(|()| format!("{shown} answers and is up to date"))
}

async fn blobs(config: &Config) -> Result<String, String> {
    let path = config.blobs_path();
    let blobs = wiring::blobs_beside(config, Arc::new(OsRandomness)).map_err(|error| error.to_string())?;
    blobs.probe().await.map_err(|error| error.to_string())?;
    let free = Files::free_space(&path).map_err(|error| error.to_string())? / (1024 * 1024);
    Ok(match config.blobs.bucket() {
        Some(bucket) => format!(
            "{bucket:?}: objects can be written, read and removed; {free} MiB are free for what arrives, in {}",
            path.display()
        ),
        None => format!("{} can be written, read and removed; {free} MiB are free", path.display()),
    })
}

/// Whether media was found to be damaged.
async fn damages(config: &Config) -> Outcome {
    let Ok(records) = wiring::records(config).await else {
        return Outcome::Note("not looked at: the database cannot be opened".to_owned());
    };
    let counted = records.count_damages().await;
    records.close().await;
    match counted {
        Ok((0, _)) => Outcome::Ok("no media is known to be damaged".to_owned()),
        Ok((damaged, _)) => Outcome::Failed(format!(
            "the bytes of {damaged} blobs are damaged or missing; `tintype blobs check` lists the media"
        )),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Whether the files of what was deleted go. Nobody can read them any more, but they should not be there.
async fn removals(config: &Config) -> Outcome {
    let Ok(records) = wiring::records(config).await else {
        return Outcome::Note("not looked at: the database cannot be opened".to_owned());
    };
    let owed = records.owed_removals().await;
    records.close().await;
    let (files, oldest) = match owed {
        Ok(owed) => owed,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let Some(oldest) = oldest else { return Outcome::Ok("no file of deleted media is left".to_owned()) };
    let minutes = SystemClock.now().as_millis().saturating_sub(oldest.as_millis()) / 60_000;
    if minutes < STUCK_MINUTES {
        return Outcome::Ok(format!("files of deleted media that are soon to be removed: {files}"));
    }
    Outcome::Failed(format!(
        "files of deleted media that should have been removed: {files}, the first of them {minutes} minutes ago; if the \
         server is running, its log says why they cannot be"
    ))
}

/// A homeserver that refuses a token nobody has is a homeserver that can be asked.
async fn homeserver(config: &Config, server: &ServerConfig) -> Result<String, String> {
    let Some(url) = &server.homeserver else { return Err("there is none".to_owned()) };
    let homeserver =
        Homeserver::new(url, config.authentication.request_timeout.get()).map_err(|error| error.to_string())?;
    let credentials = Credentials { token: "tintype-doctor".to_owned(), masquerade: Masquerade::default() };
    let asker = Asker { address: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: Some("Tintype doctor") };
    match homeserver.whoami(&credentials, &asker).await {
        Err(HomeserverError::Refused(refusal)) if refusal.status == 401 => Ok(format!("{url} checks access tokens")),
        Err(HomeserverError::Refused(refusal)) => {
            Err(format!("{url} answers an unknown token with status {}, not 401", refusal.status))
        }
        Err(HomeserverError::Unavailable(why)) => Err(format!("{url}: {why}")),
        Ok(user) => Err(format!("{url} takes any token: it says that one which nobody has is {}'s", user.user_id)),
    }
}

/// What is passed on goes another way than what is asked: whether the homeserver is there, too, and is one.
async fn passing_on(config: &Config, server: &ServerConfig) -> Result<String, String> {
    let Some(url) = &server.homeserver else { return Err("there is no homeserver".to_owned()) };
    let time = config.authentication.request_timeout.get();
    let homeserver = Homeserver::new(url, time).map_err(|error| error.to_string())?;
    let request = Request::get("/_matrix/client/versions").header("Host", server.name.as_str());
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = async {
        let answer = homeserver.forward(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{url} answers /_matrix/client/versions with status {status}"));
        }
        let answer = serde_json::from_slice::<Value>(&body);
        let newest = answer.ok().and_then(|answer| Some(answer["versions"].as_array()?.last()?.as_str()?.to_owned()));
        let newest = newest.ok_or_else(|| format!("{url} is no homeserver: its answer lists no versions"))?;
        Ok(format!("{url} speaks Matrix up to {newest}"))
    };
    timeout(time, answer).await.unwrap_or_else(|_| Err(format!("{url} does not answer in time")))
}

/// Whether others find the key where they look for it: at the homeserver, or at this server if it owns the name.
async fn published(config: &Config, server: &ServerConfig, key: &SigningKey) -> Result<String, String> {
    let base = match (&server.homeserver, config.http.listen.first()) {
        (Some(url), _) => url.clone(),
        (None, Some(ListenAddress::Tcp(address))) => {
            Url::parse(&format!("http://{address}")).map_err(|error| error.to_string())?
        }
        (None, _) => return Ok("not looked up: the server listens on no port without TLS".to_owned()),
    };
    let url = base.join("_matrix/key/v2/server").map_err(|error| error.to_string())?;
    let client = http_client(config.authentication.request_timeout.get()).map_err(|error| error.to_string())?;
    let request = client.get(url.clone()).header("Host", server.name.as_str());
    let response = match request.send().await {
        Err(error) if error.is_connect() && server.owns_name() => {
            return Ok("not looked up: the server is not running".to_owned());
        }
        outcome => outcome.map_err(|error| error.to_string())?,
    };
    let document: Value = response.json().await.map_err(|error| format!("{url}: {error}"))?;
    if document["verify_keys"][key.id()]["key"] == key.public_key() {
        Ok(format!("{url} shows {}", key.id()))
    } else {
        Err(format!("{url} does not show {}: other servers will refuse what is signed with it", key.id()))
    }
}
