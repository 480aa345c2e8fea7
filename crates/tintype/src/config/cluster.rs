//! `[cluster]`: several servers on one database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::report::Report;
use super::values::{ListenAddress, Secret, path, web_url};

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

    pub(super) fn check(&self, report: &mut Report) {
        let set = [
            ("listen", self.listen.is_some()),
            ("advertise", self.advertise.is_some()),
            ("secret", self.secret.is_some() || self.secret_file.is_some()),
        ];
        if let Some((key, _)) = set.into_iter().find(|(_, is_set)| *is_set) {
            // Whoever sets it expects nodes that keep together, which this version's do not yet.
            let message = "several servers on one database are not supported by this version";
            report.error(&format!("cluster.{key}"), message);
        }
    }
}
