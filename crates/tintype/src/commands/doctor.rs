//! `tintype doctor`: tries everything that the server depends on, and prints a line for each.

use std::{process::ExitCode, sync::Arc};

use serde_json::Value;
use tintype_domain::OsRandomness;
use tintype_federation::SigningKey;
use tintype_homeserver::{Asker, Credentials, Homeserver, HomeserverError, Masquerade, http_client};
use tintype_storage::blobs::Files;
use url::Url;

use super::{ConfigFile, block_on};
use crate::{
    config::{Config, ListenAddress, ServerConfig},
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    let healthy = block_on(async {
        let mut healthy = true;
        let mut report = |what: &str, outcome: Result<String, String>| match outcome {
            Ok(detail) => println!("ok    {what}: {detail}"),
            Err(why) => {
                healthy = false;
                println!("FAIL  {what}: {why}");
            }
        };
        report("database", database(&config).await);
        report("blobs", blobs(&config).await);
        for server in &config.server {
            if server.homeserver.is_some() {
                report(&format!("homeserver of {}", server.name), homeserver(&config, server).await);
            }
            if let Some(path) = config.signing_key_path(server) {
                let what = format!("signing key of {}", server.name);
                match SigningKey::load_or_create(&path, &OsRandomness) {
                    Ok(key) => {
                        report(&what, Ok(format!("{} in {}", key.id(), path.display())));
                        let published = published(&config, server, &key).await;
                        report(&format!("published key of {}", server.name), published);
                    }
                    Err(error) => report(&what, Err(error.to_string())),
                }
            }
        }
        Ok(healthy)
    })?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn database(config: &Config) -> Result<String, String> {
    let records = wiring::records(config).await.map_err(|error| format!("{error:#}"))?;
    let answered = records.ping().await.map_err(|error| error.to_string());
    records.close().await;
    answered.map(|()| format!("{} answers and is up to date", config.database_path().display()))
}

async fn blobs(config: &Config) -> Result<String, String> {
    let path = config.blobs_path();
    let files = Files::open_shared(&path, Arc::new(OsRandomness)).map_err(|error| error.to_string())?;
    files.probe().await.map_err(|error| error.to_string())?;
    let free = Files::free_space(&path).map_err(|error| error.to_string())?;
    Ok(format!("{} can be written, read and removed; {} MiB are free", path.display(), free / (1024 * 1024)))
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
