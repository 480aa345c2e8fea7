//! `[ephemeral]`: media that lives for a while only (MSC4425).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::{ByteSize, Duration, Limit};

/// Media that lives for a while only (MSC4425).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EphemeralConfig {
    /// How long after its upload ephemeral media ends by itself: at least a day. "never": only its owner ends it.
    pub max_age: Limit<Duration>,
    /// How many bytes of ephemeral media one user may have stored, or "never" for no limit.
    pub max_user_bytes: Limit<ByteSize>,
    /// How many pieces of ephemeral media one user may have stored, or "never" for no limit.
    pub max_user_media: Limit<u64>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for EphemeralConfig {
    fn default() -> Self {
        Self {
            max_age: Limit::At(Duration::from_secs(7 * 24 * 60 * 60)),
            max_user_bytes: Limit::At(ByteSize::mib(1024)),
            max_user_media: Limit::At(1000),
        }
    }
}

impl EphemeralConfig {
    pub(super) fn check(&self, report: &mut Report) {
        // Other servers may keep it for a day: what ended earlier here would not end there.
        if let Limit::At(max_age) = self.max_age
            && max_age < DAY
        {
            let message = format!("must be at least {DAY}, not {max_age}; \"never\" leaves the end to the owner");
            report.error("ephemeral.max_age", message);
        }
    }
}
