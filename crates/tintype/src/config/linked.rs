//! `[linked]`: media that belongs to an event or a profile (MSC3911).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tintype_domain::OwnedUserId;

use super::report::Report;
use super::values::{Duration, listed};

/// Media that belongs to an event or a profile (MSC3911).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinkedConfig {
    /// How long restricted media that is attached to nothing is kept: at least 10 minutes.
    pub unattached_after: Duration,
    /// How many pieces of media one event may have.
    pub max_attachments: u32,
    /// Whether plain uploads are refused, so that all media is restricted.
    pub block_unrestricted: bool,
    /// Users, beside administrators, whose restricted media stays though it is attached to nothing.
    #[serde(deserialize_with = "listed::deserialize")]
    #[schemars(with = "Vec<String>")]
    pub unswept_users: Vec<OwnedUserId>,
    /// How long after a redaction the bytes are kept. Nobody is given them meanwhile but those who ask for redacted media
    /// and may have it.
    pub redaction_grace: Duration,
    /// What becomes of media that is attached to nothing when a message that names it is redacted.
    pub unlinked_redaction: Fate,
    /// What becomes of our users' attached media when nobody at all is in its room any more.
    pub abandoned_rooms: Fate,
    /// How long copies of other servers' attached media are kept after the last of our users has left the room.
    pub left_rooms_grace: Duration,
}

/// What becomes of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Fate {
    /// It is kept.
    Keep,
    /// It is deleted.
    Delete,
}

const SHORTEST: Duration = Duration::from_secs(10 * 60);

impl Default for LinkedConfig {
    fn default() -> Self {
        Self {
            unattached_after: Duration::from_secs(24 * 60 * 60),
            max_attachments: 20,
            block_unrestricted: false,
            unswept_users: Vec::new(),
            redaction_grace: Duration::from_secs(7 * 24 * 60 * 60),
            unlinked_redaction: Fate::Keep,
            abandoned_rooms: Fate::Keep,
            left_rooms_grace: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl LinkedConfig {
    pub(super) fn check(&self, report: &mut Report) {
        if self.unattached_after < SHORTEST {
            let message = format!(
                "must be at least {SHORTEST}, not {}: media is uploaded first and sent afterwards",
                self.unattached_after
            );
            report.error("linked.unattached_after", message);
        }
        if self.max_attachments == 0 {
            report.error("linked.max_attachments", "must be at least 1");
        }
    }
}
