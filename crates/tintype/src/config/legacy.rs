//! `[legacy]`: the old endpoints, which ask for no access token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tintype_domain::Mxc;

use super::values::{FreezeAt, listed};

/// The old endpoints, which ask for no access token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LegacyConfig {
    /// Media from this moment on is not found at the old endpoints: a time, "now" (all media, from the first start on)
    /// or "never".
    pub freeze: FreezeAt,
    /// MXC URIs of media that the freeze spares, such as the icons of a login page.
    #[serde(with = "listed")]
    #[schemars(with = "Vec<String>")]
    pub exceptions: Vec<Mxc>,
}

impl Default for LegacyConfig {
    fn default() -> Self {
        Self { freeze: FreezeAt::Now, exceptions: Vec::new() }
    }
}
