//! `[database]`: where the records are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::DatabaseUrl;

/// Where the records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// "sqlite:path". "postgres://user@host/database" is not supported by this version.
    pub url: DatabaseUrl,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: DatabaseUrl::Sqlite("tintype.db".into()) }
    }
}
