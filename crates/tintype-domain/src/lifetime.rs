//! How long media lives.

use crate::Timestamp;

/// How long a piece of media, or a copy of it, lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody removes it.
    Kept,
    /// Until its owner deletes it, or this time has come (MSC4425).
    Ephemeral {
        /// When it ends by itself; [`Timestamp::NEVER`] where it does not.
        expires_at: Timestamp,
    },
}

impl Lifetime {
    /// Whether it ends.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral { .. })
    }

    /// Whether it has ended by this time.
    pub fn is_over(self, now: Timestamp) -> bool {
        matches!(self, Self::Ephemeral { expires_at } if expires_at <= now)
    }
}

impl From<Option<Timestamp>> for Lifetime {
    /// As it is recorded: no time for what is kept.
    fn from(expires_at: Option<Timestamp>) -> Self {
        expires_at.map_or(Self::Kept, |expires_at| Self::Ephemeral { expires_at })
    }
}

impl From<Lifetime> for Option<Timestamp> {
    fn from(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Kept => None,
            Lifetime::Ephemeral { expires_at } => Some(expires_at),
        }
    }
}
