//! `tintype appservice registration`: the file with which a homeserver knows us as its application service.
//!
//! It is YAML, written by hand: texts in double quotes, whose escapes are those of JSON.

use std::{fmt, fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Subcommand;
use tintype_domain::{OsRandomness, OwnedServerName, Randomness as _, ServerName};
use tintype_homeserver::APPSERVICE_ID;
use url::Url;

use super::ConfigFile;
use crate::config::{Config, ListenAddress, Secret, ServerConfig};

/// Bytes of randomness in a token.
const ENTROPY: usize = 32;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the registration with which the homeserver knows this server as its application service.
    Registration(Registration),
}

#[derive(Debug, clap::Args)]
pub(super) struct Registration {
    /// Of which server; it can be left out if only one has a homeserver.
    #[arg(long, value_name = "NAME")]
    server: Option<OwnedServerName>,
    /// Where the homeserver reaches Tintype. Default: the first port without TLS of http.listen.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Write it to a new file, which only its owner can read, instead of printing it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

/// What a homeserver is told of us (application service API, "Registration").
struct Document<'a> {
    server: &'a ServerName,
    url: String,
    appservice_token: &'a str,
    homeserver_token: &'a str,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Registration(arguments) = command;
    let config = arguments.file.load()?;
    let server = chosen(&config, arguments.server.as_deref())?;
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => own_url(&config)?,
    };
    let made = (server.appservice_token.is_none()).then(|| (token(), token()));
    let known = server.appservice_token.as_ref().zip(server.homeserver_token.as_ref());
    let known = known.map(|(appservice, homeserver)| (Secret::expose(appservice), Secret::expose(homeserver)));
    let tokens = known.or(made.as_ref().map(|(appservice, homeserver)| (appservice.as_str(), homeserver.as_str())));
    let (appservice_token, homeserver_token) = tokens.context("the configuration has only one of the two tokens")?;
    let document = Document {
        server: &server.name,
        url: url.as_str().trim_end_matches('/').to_owned(),
        appservice_token,
        homeserver_token,
    };
    match &arguments.output {
        None => print!("{document}"),
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let written = file.and_then(|mut file| write!(file, "{document}"));
            written.with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    if made.is_some() {
        eprintln!(
            "tintype: these tokens are new: put them into the [[server]] of {} as well, before the homeserver knows them:
  appservice_token = \"{appservice_token}\"
  homeserver_token = \"{homeserver_token}\"
or each into a file, named by appservice_token_file and homeserver_token_file.",
            server.name,
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(config: &'a Config, name: Option<&ServerName>) -> anyhow::Result<&'a ServerConfig> {
    if let Some(name) = name {
        let server = config.server.iter().find(|server| server.name == name);
        let server = server.with_context(|| format!("{name} is not served here"))?;
        if server.owns_name() {
            bail!("{name} has no homeserver that could be told");
        }
        return Ok(server);
    }
    let mut servers = config.server.iter().filter(|server| !server.owns_name());
    match (servers.next(), servers.next()) {
        (Some(server), None) => Ok(server),
        (None, _) => bail!("there is no homeserver that could be told: no [[server]] has one"),
        _ => bail!("several servers have a homeserver: say which one with --server"),
    }
}

fn own_url(config: &Config) -> anyhow::Result<Url> {
    let port = config.http.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    let mut address = port.context("the server listens on no port without TLS: say with --url how it is reached")?;
    // Whoever is reached at every address is reached at this one.
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    Ok(Url::parse(&format!("http://{address}"))?)
}

fn token() -> String {
    let mut random = [0; ENTROPY];
    OsRandomness.fill(&mut random);
    BASE64_URL_SAFE_NO_PAD.encode(random)
}

/// A regular expression that only this text matches.
fn escaped(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | ':');
    text.chars().fold(String::new(), |mut regex, letter| {
        if !is_plain(letter) {
            regex.push('\\');
        }
        regex.push(letter);
        regex
    })
}

/// A text in double quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, url, appservice_token, homeserver_token } = self;
        let users = format!("@.*:{}", escaped(server.as_str()));
        // Never exclusive: the users are the homeserver's, and would be locked out of their own accounts.
        write!(
            f,
            "# Tintype, the media server of {server}. Whoever has as_token can act as each of its users.
id: {}
url: {}
as_token: {}
hs_token: {}
sender_localpart: {}
rate_limited: false
receive_ephemeral: false
namespaces:
  users:
    - regex: {}
      exclusive: false
  aliases: []
  rooms: []
",
            quoted(APPSERVICE_ID),
            quoted(url),
            quoted(appservice_token),
            quoted(homeserver_token),
            quoted(SENDER),
            quoted(&users),
        )
    }
}

/// The localpart of the user that the token belongs to.
const SENDER: &str = "tintype";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_name_matches() {
        assert_eq!(escaped("matrix-1.example.org:8448"), r"matrix-1\.example\.org:8448");
        assert_eq!(escaped("[::1]"), r"\[::1\]");
    }
}
