//! Copies of media (MSC3911): a new name for the same bytes, of which none is moved.
//!
//! Who may see the source was decided before. One transaction looks again whether the source is still what that was
//! decided about, and takes a reference to its blob: a source that goes afterwards leaves the copy its bytes.

use sqlx::FromRow;
use tintype_domain::{Audience, ContentHash, Mxc, OwnedUserId, Timestamp};

use super::{
    Quota, Records, RecordsError, Statement,
    linked::{LinkColumns, insert_link, remote_audience},
    usage::signed,
};
use crate::records::sql::{Connection, query, query_as};

/// A copy: restricted, attached to nothing, of whoever makes it.
#[derive(Debug, Clone)]
pub struct CopyMedia {
    /// What is copied: media of ours, or of another server whose original is kept here.
    pub source: Mxc,
    /// Its bytes, as they were when it was decided that they may be copied.
    pub sha256: ContentHash,
    /// Who could see it then.
    pub audience: Audience,
    /// The name of the copy, which must be new.
    pub mxc: Mxc,
    /// Who makes it.
    pub uploader: OwnedUserId,
    /// When.
    pub created_at: Timestamp,
    /// When it goes if it is still attached to nothing; [`Timestamp::NEVER`] where it stays.
    pub unattached_until: Timestamp,
    /// What the uploader may store.
    pub quota: Quota,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyOutcome {
    /// It is recorded.
    Copied {
        /// Its length in bytes.
        size: u64,
    },
    /// The source is not what it was: it is gone, or has other bytes, or may be seen by others. Nothing was recorded.
    Changed,
    /// The uploader's quota is reached; nothing was recorded.
    OverQuota,
}

#[derive(FromRow)]
struct SourceRow {
    blob_id: i64,
    size: i64,
    sha256: Vec<u8>,
    content_type: Vec<u8>,
    filename: Option<String>,
    ephemeral: bool,
    redacted_at: Option<i64>,
}

#[derive(FromRow)]
struct OursRow {
    #[sqlx(flatten)]
    source: SourceRow,
    state: Option<String>,
    event_id: Option<String>,
    profile_user: Option<String>,
}

#[derive(FromRow)]
struct RemoteRow {
    #[sqlx(flatten)]
    source: SourceRow,
    audience: Option<String>,
    audience_id: Option<String>,
}

impl Records {
    /// Records a copy and counts it against its uploader's quota.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was recorded.
    pub async fn copy_media(&self, copy: CopyMedia) -> Result<CopyOutcome, RecordsError> {
        self.write(copy).await
    }
}

impl CopyMedia {
    /// The source, if it is still what it was.
    async fn source(&self, connection: &mut Connection) -> Result<Option<SourceRow>, RecordsError> {
        let found = match self.ours(connection).await? {
            Some(ours) => Some(ours),
            None => self.remote(connection).await?,
        };
        let unchanged = |(source, audience): &(SourceRow, Option<Audience>)| {
            source.sha256 == self.sha256.as_bytes()
                && !source.ephemeral
                && source.redacted_at.is_none()
                && audience.as_ref() == Some(&self.audience)
        };
        Ok(found.filter(unchanged).map(|(source, _)| source))
    }

    async fn ours(&self, connection: &mut Connection) -> Result<Option<(SourceRow, Option<Audience>)>, RecordsError> {
        let row: Option<OursRow> = query_as(
            "SELECT m.blob_id, b.size, b.sha256, m.content_type, m.filename, m.expires_at IS NOT NULL AS ephemeral,
             l.state, l.event_id, l.profile_user, e.redacted_at
             FROM media m JOIN blobs b ON b.id = m.blob_id
             LEFT JOIN linked_media l ON l.server_name = m.server_name AND l.media_id = m.media_id
             LEFT JOIN linked_events e ON e.event_id = l.event_id
             WHERE m.server_name = $1 AND m.media_id = $2",
        )
        .bind(self.source.server_name.as_str())
        .bind(self.source.media_id.as_str())
        .fetch_optional(connection)
        .await?;
        Ok(row.map(|row| {
            let OursRow { source, state, event_id, profile_user } = row;
            let redacted_at = source.redacted_at;
            (source, LinkColumns { state, event_id, profile_user, redacted_at }.into_audience())
        }))
    }

    async fn remote(&self, connection: &mut Connection) -> Result<Option<(SourceRow, Option<Audience>)>, RecordsError> {
        let row: Option<RemoteRow> = query_as(
            "SELECT r.blob_id, b.size, b.sha256, r.content_type, r.filename, r.expires_at IS NOT NULL AS ephemeral,
             r.audience, r.audience_id, e.redacted_at
             FROM remote_cache r JOIN blobs b ON b.id = r.blob_id
             LEFT JOIN linked_events e ON e.event_id = r.audience_id AND r.audience = 'event'
             WHERE r.server_name = $1 AND r.media_id = $2 AND r.method = 'original'",
        )
        .bind(self.source.server_name.as_str())
        .bind(self.source.media_id.as_str())
        .fetch_optional(connection)
        .await?;
        Ok(row.map(|row| {
            let audience = remote_audience(row.audience.as_deref(), row.audience_id);
            (row.source, audience)
        }))
    }
}

impl Statement for CopyMedia {
    type Output = CopyOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<CopyOutcome, RecordsError> {
        let Some(source) = self.source(connection).await? else { return Ok(CopyOutcome::Changed) };
        // The quota is the only refusal from here on, and it leaves nothing to undo.
        let counted = query(
            "INSERT INTO usage (user_id, bytes, media) SELECT $1, $2, 1 WHERE $2 <= $3 AND 1 <= $4
             ON CONFLICT (user_id) DO UPDATE SET bytes = usage.bytes + $2, media = usage.media + 1
             WHERE usage.bytes <= $3 - $2 AND usage.media < $4",
        )
        .bind(self.uploader.as_str())
        .bind(source.size)
        .bind(signed(self.quota.bytes))
        .bind(signed(self.quota.media))
        .execute(&mut *connection)
        .await?;
        if counted.rows_affected() == 0 {
            return Ok(CopyOutcome::OverQuota);
        }
        query("UPDATE blobs SET refs = refs + 1 WHERE id = $1").bind(source.blob_id).execute(&mut *connection).await?;
        query(
            "INSERT INTO media (server_name, media_id, blob_id, content_type, filename, uploader, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(self.mxc.server_name.as_str())
        .bind(self.mxc.media_id.as_str())
        .bind(source.blob_id)
        .bind(source.content_type)
        .bind(source.filename)
        .bind(self.uploader.as_str())
        .bind(self.created_at.as_millis())
        .execute(&mut *connection)
        .await?;
        insert_link(connection, &self.mxc, &self.uploader, self.created_at, self.unattached_until).await?;
        Ok(CopyOutcome::Copied { size: u64::try_from(source.size).unwrap_or(0) })
    }
}
