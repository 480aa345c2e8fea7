//! `[cache]`: what is kept in memory so that it need not be read again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{ByteSize, Duration};

/// What is kept in memory so that it need not be read again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Memory for records and small bodies; 0 keeps none.
    pub memory: ByteSize,
    /// How long a record is believed without asking the database again.
    pub time: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { memory: ByteSize::mib(32), time: Duration::from_secs(30) }
    }
}
