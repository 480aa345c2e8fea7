//! `[proposals]`: stable names of proposals that Matrix has not accepted yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stable names of proposals that Matrix has not accepted yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProposalsConfig {
    /// Proposals whose stable names are served beside the unstable ones: "msc3911", "msc4425". Without this key: all of
    /// them if no `[[server]]` has a `homeserver`, none otherwise.
    pub stable: Option<Vec<Proposal>>,
}

/// A proposal that is open: its stable names are not Matrix's yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Proposal {
    /// Media linked to events.
    Msc3911,
    /// Ephemeral media.
    Msc4425,
}
