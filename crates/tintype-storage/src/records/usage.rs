//! What each user has stored: the base of quotas.

use tintype_domain::UserId;

use super::{Records, RecordsError};
use crate::records::sql::query_as;

/// What a user has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all media, each counted in full even where bytes are shared.
    pub bytes: u64,
    /// Pieces of media.
    pub media: u64,
}

/// What a user may store; [`u64::MAX`] where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all media together.
    pub bytes: u64,
    /// Pieces of media.
    pub media: u64,
}

impl Quota {
    /// No limit.
    pub const UNLIMITED: Self = Self { bytes: u64::MAX, media: u64::MAX };

    /// Whether one more piece of media of `size` bytes fits beside `usage`.
    pub fn allows(&self, usage: Usage, size: u64) -> bool {
        usage.media < self.media && size <= self.bytes.saturating_sub(usage.bytes)
    }
}

impl Records {
    /// What the user has stored; nothing, for a user who never uploaded.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn usage(&self, user_id: &UserId) -> Result<Usage, RecordsError> {
        let row: Option<(i64, i64)> = query_as("SELECT bytes, media FROM usage WHERE user_id = $1")
            .bind(user_id.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map_or_else(Usage::default, |(bytes, media)| Usage {
            bytes: u64::try_from(bytes).unwrap_or(0),
            media: u64::try_from(media).unwrap_or(0),
        }))
    }
}

/// SQL integers are signed: what is beyond them is as good as unlimited.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
