//! `[ephemeral]`: media that lives for a while only (MSC4425).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::{Duration, Limit};

/// Media that lives for a while only (MSC4425).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EphemeralConfig {
    /// How long ephemeral media lives; at least a day. "never" turns it off.
    pub max_age: Limit<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for EphemeralConfig {
    fn default() -> Self {
        Self { max_age: Limit::At(Duration::from_secs(7 * 24 * 60 * 60)) }
    }
}

impl EphemeralConfig {
    pub(super) fn check(&self, report: &mut Report) {
        // The proposal promises recipients a day to fetch it.
        if let Limit::At(max_age) = self.max_age
            && max_age < DAY
        {
            let message = format!("must be at least {DAY}, not {max_age}; \"never\" turns ephemeral media off");
            report.error("ephemeral.max_age", message);
        }
    }
}
