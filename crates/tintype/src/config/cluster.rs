//! `[cluster]`: several servers on one database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::report::Report;
use super::values::{DatabaseUrl, ListenAddress, Secret, path, web_url};

/// The fewest characters of a secret.
const SHORTEST_SECRET: usize = 32;

/// Several servers on one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Where the other nodes reach this one: "IP:port". Without it this server is the only one on its database.
    pub listen: Option<ListenAddress>,
    /// The URL under which they do: "http://host:port".
    #[serde(deserialize_with = "web_url::base")]
    #[schemars(with = "Option<String>")]
    pub advertise: Option<Url>,
    /// What all nodes know, and nobody else: at least 32 characters.
    pub secret: Option<Secret>,
    /// A file that holds `secret`.
    #[serde(deserialize_with = "path::optional")]
    pub secret_file: Option<PathBuf>,
}

impl ClusterConfig {
    /// Whether this server shares its database with others.
    pub fn is_on(&self) -> bool {
        self.listen.is_some()
    }

    pub(super) fn read_secrets(&mut self, report: &mut Report) {
        report.read_secret("cluster.secret", &mut self.secret, self.secret_file.as_deref());
    }

    pub(super) fn check(&self, database: &DatabaseUrl, report: &mut Report) {
        let has_secret = self.secret.is_some() || self.secret_file.is_some();
        if !self.is_on() {
            for (key, is_set) in [("advertise", self.advertise.is_some()), ("secret", has_secret)] {
                if is_set {
                    report
                        .error(&format!("cluster.{key}"), "needs cluster.listen, where the other nodes reach this one");
                }
            }
            return;
        }
        match database {
            DatabaseUrl::Postgres(_) => {}
            DatabaseUrl::Sqlite(_) => {
                let message = "needs database.url = \"postgres://…\": a file of SQLite is one server's own";
                report.error("cluster.listen", message);
            }
        }
        if matches!(self.listen, Some(ListenAddress::Unix(_))) {
            report.error("cluster.listen", "is reached from other machines: it needs an address and a port");
        }
        match &self.advertise {
            None => report.error("cluster.advertise", "is missing; under which URL do the other nodes reach this one?"),
            Some(url) if url.scheme() != "http" => {
                report.error("cluster.advertise", "begins with http://: nodes do not speak TLS among themselves");
            }
            Some(url) if url.path() != "/" => report.error("cluster.advertise", "has a scheme, a host and a port only"),
            Some(_) => {}
        }
        match &self.secret {
            None if !has_secret => {
                report.error("cluster.secret", "is missing: it is by their secret that nodes know each other");
            }
            Some(secret) if secret.expose().len() < SHORTEST_SECRET => {
                report
                    .error("cluster.secret", format!("is too short: at least {SHORTEST_SECRET} characters are needed"));
            }
            _ => {}
        }
    }
}
