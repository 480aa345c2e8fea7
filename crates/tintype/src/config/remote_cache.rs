//! `[remote_cache]`: what is kept of other servers' media.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::{ByteSize, Duration, Limit};

/// What is kept of other servers' media.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteCacheConfig {
    /// How many bytes; then what was not asked for the longest goes. "never" for no limit.
    pub max_size: Limit<ByteSize>,
    /// How long after it was last asked for, or "never" for ever.
    pub max_age: Limit<Duration>,
}

impl Default for RemoteCacheConfig {
    fn default() -> Self {
        Self {
            max_size: Limit::At(ByteSize::mib(10 * 1024)),
            max_age: Limit::At(Duration::from_secs(30 * 24 * 60 * 60)),
        }
    }
}

impl RemoteCacheConfig {
    pub(super) fn check(&self, report: &mut Report) {
        if self.max_size.value().is_some_and(|size| size.bytes() == 0) {
            report.error("remote_cache.max_size", "must be more than 0 (or \"never\")");
        }
        if self.max_age.value().is_some_and(Duration::is_zero) {
            report.error("remote_cache.max_age", "must be more than \"0s\" (or \"never\")");
        }
    }
}
