//! `[async]`: uploads to URIs that were made before them (MSC2246).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Uploads to URIs that were made before them (MSC2246).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AsyncConfig {
    /// Whether a download begins while its upload still arrives; else it waits until the upload is whole.
    pub stream: bool,
}

impl Default for AsyncConfig {
    fn default() -> Self {
        Self { stream: true }
    }
}
