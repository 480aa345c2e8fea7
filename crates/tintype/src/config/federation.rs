//! `[federation]`: connections to other servers, and theirs to us.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tintype_domain::{OwnedServerName, ServerPattern};

use super::report::Report;
use super::server::ServerConfig;
use super::values::{Duration, listed, network, path};

/// Connections to other servers, and theirs to us.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// Networks that may be connected to although the address filter forbids them.
    #[serde(deserialize_with = "network::list")]
    #[schemars(with = "Vec<String>")]
    pub allow_addresses: Vec<IpNet>,
    /// Files of certificates, in PEM, that are trusted beside the system's.
    #[serde(deserialize_with = "path::list")]
    pub extra_ca_files: Vec<PathBuf>,
    /// How long another server may take to begin its answer.
    pub request_timeout: Duration,
    /// How long another server may send nothing of a body before the fetch is given up.
    pub idle_timeout: Duration,
    /// How long a whole fetch may take.
    pub fetch_timeout: Duration,
    /// Name servers that are asked for the addresses of other servers: "IP:port". Without any: the system's.
    #[serde(deserialize_with = "listed::deserialize")]
    #[schemars(with = "Vec<String>")]
    pub nameservers: Vec<SocketAddr>,
    /// Servers that are asked for the keys of servers that do not answer (notaries).
    #[serde(deserialize_with = "listed::deserialize")]
    #[schemars(with = "Vec<String>")]
    pub key_servers: Vec<OwnedServerName>,
    /// Servers that media is exchanged with, as patterns such as "*.example.org". Without any: all.
    #[serde(with = "listed")]
    #[schemars(with = "Vec<String>")]
    pub allow_servers: Vec<ServerPattern>,
    /// Servers that no media is exchanged with, as patterns; they come before `allow_servers`.
    #[serde(with = "listed")]
    #[schemars(with = "Vec<String>")]
    pub deny_servers: Vec<ServerPattern>,
    /// Where thumbnails of media that is not in the cache are made: at its "origin", or "local", from the whole media.
    pub remote_thumbnails: RemoteThumbnails,
}

/// Where thumbnails of media that is not in the cache are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RemoteThumbnails {
    /// At the server the media was uploaded to, which sends the thumbnail alone.
    Origin,
    /// Here, from the whole media.
    Local,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            allow_addresses: Vec::new(),
            extra_ca_files: Vec::new(),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(15 * 60),
            nameservers: Vec::new(),
            key_servers: Vec::new(),
            allow_servers: Vec::new(),
            deny_servers: Vec::new(),
            remote_thumbnails: RemoteThumbnails::Origin,
        }
    }
}

impl FederationConfig {
    pub(super) fn check(&self, servers: &[ServerConfig], report: &mut Report) {
        report.not_zero("federation.request_timeout", self.request_timeout);
        report.not_zero("federation.idle_timeout", self.idle_timeout);
        report.not_zero("federation.fetch_timeout", self.fetch_timeout);
        for (index, address) in self.nameservers.iter().enumerate() {
            if address.port() == 0 {
                report.error(&format!("federation.nameservers[{index}]"), "needs a port; DNS has 53");
            }
        }
        for (index, name) in self.key_servers.iter().enumerate() {
            if servers.iter().any(|server| server.name == *name) {
                let message = format!("{name} is served here, and knows no keys of others");
                report.error(&format!("federation.key_servers[{index}]"), message);
            }
        }
    }
}
