//! `[authentication]`: how access tokens are taken and checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::Duration;

/// How access tokens are taken and checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthenticationConfig {
    /// How long a homeserver's answer about a token is believed; "0s" asks each time.
    pub cache_time: Duration,
    /// Whether tokens in `?access_token=` are accepted. Deprecated by Matrix; off by default in a later version.
    pub query_access_token: bool,
    /// How long a homeserver may take to answer about a token.
    pub request_timeout: Duration,
}

impl Default for AuthenticationConfig {
    fn default() -> Self {
        Self { cache_time: Duration::from_secs(30), query_access_token: true, request_timeout: Duration::from_secs(10) }
    }
}

impl AuthenticationConfig {
    pub(super) fn check(&self, report: &mut Report) {
        report.not_zero("authentication.request_timeout", self.request_timeout);
    }
}
