//! `[federation]`: connections to other servers.

use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::{Duration, network, path};

/// Connections to other servers.
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
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self { allow_addresses: Vec::new(), extra_ca_files: Vec::new(), request_timeout: Duration::from_secs(30) }
    }
}

impl FederationConfig {
    pub(super) fn check(&self, report: &mut Report) {
        report.not_zero("federation.request_timeout", self.request_timeout);
    }
}
