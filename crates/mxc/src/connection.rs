//! The client, from the command line and the environment. What stands on the command line goes first.

use std::{env, ffi::OsString, fs, path::PathBuf};

use anyhow::Context as _;
use clap::{CommandFactory as _, error::ErrorKind};
use tintype_client::{Client, Url};

use crate::arguments::{Arguments, Connection, Secret};

const USER_AGENT: &str = concat!("mxc/", env!("CARGO_PKG_VERSION"));

impl Connection {
    /// The client. Ends the program with a usage error if server or token are missing.
    pub fn client(self) -> anyhow::Result<Client> {
        let server = self.server.or_else(|| variable("MXC_SERVER")?.into_string().ok());
        let Some(server) = server else { missing("the server: give --server URL, or set MXC_SERVER") };
        let token = match (self.token, self.token_file) {
            (Some(Secret(token)), _) => Some(token),
            (None, Some(file)) => Some(read(&file)?),
            (None, None) => token_of_environment()?,
        };
        let Some(token) = token else {
            missing("the access token: set MXC_TOKEN or MXC_TOKEN_FILE, or give --token-file FILE")
        };
        let client = Client::builder(base_url(&server)?).access_token(token).user_agent(USER_AGENT).build();
        client.context("connecting")
    }
}

/// A host alone means HTTPS: a token is not to be sent in the clear because somebody typed less.
fn base_url(server: &str) -> anyhow::Result<Url> {
    let parsed = if server.contains("://") { Url::parse(server) } else { Url::parse(&format!("https://{server}")) };
    parsed.context("the server's URL is not one")
}

fn token_of_environment() -> anyhow::Result<Option<String>> {
    if let Some(token) = variable("MXC_TOKEN") {
        let token = token.into_string().map_err(|_| anyhow::anyhow!("MXC_TOKEN is not text"))?;
        return Ok(Some(token));
    }
    variable("MXC_TOKEN_FILE").map(|file| read(&file.into())).transpose()
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    let token =
        fs::read_to_string(file).with_context(|| format!("reading the access token from {}", file.display()))?;
    Ok(token.trim().to_owned())
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn missing(what: &str) -> ! {
    Arguments::command().error(ErrorKind::MissingRequiredArgument, format!("missing {what}")).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_is_reached_over_https() {
        for (server, url) in [
            ("matrix.example.org", "https://matrix.example.org/"),
            ("example.org:8448", "https://example.org:8448/"),
            ("http://127.0.0.1:8090", "http://127.0.0.1:8090/"),
        ] {
            assert_eq!(base_url(server).unwrap().as_str(), url);
        }
        assert!(base_url("https://").is_err());
    }
}
