//! Erasure: all that a user uploaded goes, and what went is counted.
//!
//! What is to be done is a row, so that a command can ask a running server to do it, and whatever is interrupted is gone on
//! with.

use sqlx::FromRow;
use tintype_domain::{OwnedUserId, Timestamp, UserId};

use super::{
    Records, RecordsError, Statement, deletions::RemoveOutcome, linked::mxc_from, redactions::Removed, usage::signed,
};
use crate::records::sql::{Connection, query, query_as};

/// What went with a user, or has gone so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erasure {
    /// When nothing was left; none while something may be.
    pub finished_at: Option<Timestamp>,
    /// Pieces of media.
    pub media: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were ephemeral.
    pub ephemeral: u64,
    /// How many of them were restricted.
    pub restricted: u64,
    /// URIs that were reserved for an upload.
    pub reserved: u64,
    /// How many of the pieces of media others have the same bytes of, which stay.
    pub shared: u64,
    /// Their bytes.
    pub shared_bytes: u64,
}

#[derive(FromRow)]
struct ErasureRow {
    finished_at: Option<i64>,
    media: i64,
    bytes: i64,
    ephemeral: i64,
    restricted: i64,
    reserved: i64,
    shared: i64,
    shared_bytes: i64,
}

impl Records {
    /// Asks for all that a user uploaded to be erased. Where that was asked for and done before, it begins anew.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was asked for.
    pub async fn request_erasure(&self, user_id: OwnedUserId, now: Timestamp) -> Result<(), RecordsError> {
        self.write(Request { user_id, now }).await
    }

    /// Users who are to be erased, whoever has waited longest first.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn erasures_due(&self) -> Result<Vec<OwnedUserId>, RecordsError> {
        let rows: Vec<(String,)> =
            query_as("SELECT user_id FROM erasures WHERE finished_at IS NULL ORDER BY requested_at")
                .fetch_all(&self.readers)
                .await?;
        let parsed = |(user_id,): (String,)| {
            OwnedUserId::try_from(user_id.as_str())
                .map_err(|_| RecordsError::Inconsistent(format!("the erasure of {user_id}")))
        };
        rows.into_iter().map(parsed).collect()
    }

    /// What was asked for and done of a user's erasure; none if it was never asked for.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_erasure(&self, user_id: &UserId) -> Result<Option<Erasure>, RecordsError> {
        let row: Option<ErasureRow> = query_as(
            "SELECT finished_at, media, bytes, ephemeral, restricted, reserved, shared, shared_bytes FROM erasures
             WHERE user_id = $1",
        )
        .bind(user_id.as_str())
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.map(Erasure::from))
    }

    /// Removes what a user uploaded and reserved, `limit` pieces of each at most, and counts it. If nothing is left the
    /// erasure is finished.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was removed.
    pub async fn erase(&self, user_id: OwnedUserId, now: Timestamp, limit: u32) -> Result<Removed, RecordsError> {
        self.write(Erase { user_id, now, limit }).await
    }
}

impl From<ErasureRow> for Erasure {
    fn from(row: ErasureRow) -> Self {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Self {
            finished_at: row.finished_at.map(Timestamp),
            media: count(row.media),
            bytes: count(row.bytes),
            ephemeral: count(row.ephemeral),
            restricted: count(row.restricted),
            reserved: count(row.reserved),
            shared: count(row.shared),
            shared_bytes: count(row.shared_bytes),
        }
    }
}

struct Request {
    user_id: OwnedUserId,
    now: Timestamp,
}

impl Statement for Request {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query("DELETE FROM erasures WHERE user_id = $1 AND finished_at IS NOT NULL")
            .bind(self.user_id.as_str())
            .execute(&mut *connection)
            .await?;
        // One that is under way goes on.
        query("INSERT INTO erasures (user_id, requested_at) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING")
            .bind(self.user_id.as_str())
            .bind(self.now.as_millis())
            .execute(connection)
            .await?;
        Ok(())
    }
}

struct Erase {
    user_id: OwnedUserId,
    now: Timestamp,
    limit: u32,
}

/// A piece of media of the user's.
#[derive(FromRow)]
struct Upload {
    server_name: String,
    media_id: String,
    size: i64,
    is_ephemeral: bool,
    is_restricted: bool,
    is_shared: bool,
}

impl Statement for Erase {
    type Output = Removed;

    async fn run(&self, connection: &mut Connection) -> Result<Removed, RecordsError> {
        let (mut removed, mut went) = (Removed::default(), Erasure::default());
        let uploads: Vec<Upload> = query_as(
            "SELECT m.server_name, m.media_id, b.size, m.expires_at IS NOT NULL AS is_ephemeral,
             EXISTS (SELECT 1 FROM linked_media l WHERE l.server_name = m.server_name AND l.media_id = m.media_id)
               AS is_restricted,
             (EXISTS (SELECT 1 FROM media o WHERE o.blob_id = m.blob_id AND o.uploader <> $1)
               OR EXISTS (SELECT 1 FROM remote_cache r WHERE r.blob_id = m.blob_id)) AS is_shared
             FROM media m JOIN blobs b ON b.id = m.blob_id WHERE m.uploader = $1 LIMIT $2",
        )
        .bind(self.user_id.as_str())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        // Those that were given up stay: their IDs are never given out again.
        let reservations: Vec<(String, String)> =
            query_as("SELECT server_name, media_id FROM reservations WHERE creator = $1 AND swept = 0 LIMIT $2")
                .bind(self.user_id.as_str())
                .bind(self.limit)
                .fetch_all(&mut *connection)
                .await?;
        let limit = self.limit as usize;
        removed.more = uploads.len() >= limit || reservations.len() >= limit;
        for upload in uploads {
            removed.remove(connection, mxc_from(&upload.server_name, &upload.media_id)?, self.now).await?;
            let size = u64::try_from(upload.size).unwrap_or(0);
            went.media += 1;
            went.bytes += size;
            went.ephemeral += u64::from(upload.is_ephemeral);
            went.restricted += u64::from(upload.is_restricted);
            if upload.is_shared {
                went.shared += 1;
                went.shared_bytes += size;
            }
        }
        for (server_name, media_id) in reservations {
            let outcome = removed.remove(connection, mxc_from(&server_name, &media_id)?, self.now).await?;
            went.reserved += u64::from(outcome != RemoveOutcome::Nothing);
        }
        query(
            "UPDATE erasures SET finished_at = $2, media = media + $3, bytes = bytes + $4, ephemeral = ephemeral + $5,
             restricted = restricted + $6, reserved = reserved + $7, shared = shared + $8,
             shared_bytes = shared_bytes + $9 WHERE user_id = $1 AND finished_at IS NULL",
        )
        .bind(self.user_id.as_str())
        .bind((!removed.more).then_some(self.now.as_millis()))
        .bind(signed(went.media))
        .bind(signed(went.bytes))
        .bind(signed(went.ephemeral))
        .bind(signed(went.restricted))
        .bind(signed(went.reserved))
        .bind(signed(went.shared))
        .bind(signed(went.shared_bytes))
        .execute(connection)
        .await?;
        Ok(removed)
    }
}

#[cfg(test)]
super::testing::on_both_engines!("erasures/tests.rs");
