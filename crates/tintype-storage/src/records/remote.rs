//! Records of remote media: what other servers sent, kept for as long as it is asked for.
//!
//! A row is one response, the original of a piece of media or a thumbnail of it. Its bytes are counted in full, even where
//! a blob is shared with local media or another response: the sum is what the cache would take on its own, and it does
//! not change with what users here upload.

use sqlx::FromRow;
use tintype_domain::{Audience, Lifetime, Mxc, Timestamp};

use super::{
    FoundMedia, InsertOutcome, MediaRecord, NewBlob, Records, RecordsError, Statement, ThumbnailMethod,
    linked::{remote_audience, remote_columns},
    media::{body_from, refer_to_blob},
    removals::release_blob,
    usage::signed,
};
use crate::records::sql::{Connection, query, query_as};

/// Which response about a piece of remote media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteResponse {
    /// The media as it was uploaded.
    Original,
    /// A thumbnail that its origin made, or that was made here.
    Thumbnail {
        /// The width asked for, in pixels.
        width: u32,
        /// The height asked for, in pixels.
        height: u32,
        /// How it fits that size.
        method: ThumbnailMethod,
    },
}

/// A response about a piece of remote media.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteKey {
    /// The media.
    pub mxc: Mxc,
    /// Which response.
    pub response: RemoteResponse,
}

/// A response that has arrived.
#[derive(Debug, Clone)]
pub struct InsertRemote {
    /// Which. What was recorded of it before is replaced.
    pub key: RemoteKey,
    /// Its bytes.
    pub blob: NewBlob,
    /// Its `Content-Type`, byte for byte.
    pub content_type: Vec<u8>,
    /// Its file name.
    pub filename: Option<String>,
    /// When it was fetched, or made. It counts as its first access.
    pub fetched_at: Timestamp,
    /// How long it may be kept, however often it is used.
    pub lifetime: Lifetime,
    /// Who may see it. What the origin said last counts for all that is kept of its media.
    pub audience: Audience,
    /// Where it comes from.
    pub source: RemoteSource,
}

/// Where a response comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteSource {
    /// The origin sent it, and said who may see it.
    Origin,
    /// It is a thumbnail that was made here of the kept original. It is not recorded if that is gone by now, or may be
    /// seen by others.
    Made,
}

/// What the cache holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoteUsage {
    /// Bytes of all responses, each counted in full even where bytes are shared.
    pub bytes: u64,
    /// Responses.
    pub responses: u64,
}

/// What must go from the cache.
#[derive(Debug, Clone, Copy)]
pub struct EvictRemote {
    /// Responses whose last access was before this time go.
    pub unused_since: Option<Timestamp>,
    /// Responses go, oldest access first, until this many bytes are left at most.
    pub max_bytes: Option<u64>,
    /// Responses that go at once at most, so that other writes need not wait for long.
    pub limit: u32,
    /// The time now.
    pub now: Timestamp,
}

/// What went from the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evicted {
    /// The responses, oldest access first. As many as the limit: there may be more that must go.
    pub keys: Vec<RemoteKey>,
    /// Their bytes, each response counted in full even where bytes are shared.
    pub bytes: u64,
}

#[derive(FromRow)]
struct RemoteRow {
    sha256: Vec<u8>,
    size: i64,
    content_type: Vec<u8>,
    filename: Option<String>,
    fetched_at: i64,
    expires_at: Option<i64>,
    audience: Option<String>,
    audience_id: Option<String>,
    redacted_at: Option<i64>,
    location: Option<String>,
    body: Option<Vec<u8>>,
}

impl Records {
    /// What is recorded of a response, and where its bytes are; none if it is not in the cache.
    ///
    /// The record has no uploader, and was created when it was fetched.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_remote(&self, key: &RemoteKey) -> Result<Option<FoundMedia>, RecordsError> {
        let (width, height, method) = key.response.columns();
        let row: Option<RemoteRow> = query_as(
            "SELECT b.sha256, b.size, r.content_type, r.filename, r.fetched_at, r.expires_at, r.audience, r.audience_id,
             e.redacted_at, b.location, b.body
             FROM remote_cache r JOIN blobs b ON b.id = r.blob_id
             LEFT JOIN linked_events e ON e.event_id = r.audience_id AND r.audience = 'event'
             WHERE r.server_name = $1 AND r.media_id = $2 AND r.width = $3 AND r.height = $4 AND r.method = $5",
        )
        .bind(key.mxc.server_name.as_str())
        .bind(key.mxc.media_id.as_str())
        .bind(width)
        .bind(height)
        .bind(method)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| row.into_found(&key.mxc)).transpose()
    }

    /// Records a response in place of what was recorded of it before, whose blob is released.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was recorded.
    pub async fn insert_remote(&self, response: InsertRemote) -> Result<InsertOutcome, RecordsError> {
        self.write(response).await
    }

    /// Restricts all that is kept of a piece of media to what its origin says now, before what it says that with is
    /// recorded, and tells which responses were for others before.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was changed.
    pub async fn restrict_remote(&self, mxc: Mxc, audience: Audience) -> Result<Vec<RemoteKey>, RecordsError> {
        self.write(Restrict { mxc, audience }).await
    }

    /// Notes when responses were last asked for. A time before the one noted changes nothing, nor does a response that is
    /// not in the cache any more.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then none of them was noted.
    pub async fn touch_remote(&self, accesses: Vec<(RemoteKey, Timestamp)>) -> Result<(), RecordsError> {
        self.write(Touch(accesses)).await
    }

    /// What the cache holds.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn remote_usage(&self) -> Result<RemoteUsage, RecordsError> {
        let row: (i64, i64) = query_as(SELECT_USAGE).fetch_one(&self.readers).await?;
        Ok(RemoteUsage::from(row))
    }

    /// Removes responses from the cache. Blobs that nothing else names go with them, their files through the queue of
    /// [`removals`](Self::removals).
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing went.
    pub async fn evict_remote(&self, evict: EvictRemote) -> Result<Evicted, RecordsError> {
        self.write(evict).await
    }

    /// Removes responses with ephemeral media that may not be kept beyond `by`, `limit` of them at most, and tells which.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing went.
    pub async fn end_remote(&self, by: Timestamp, now: Timestamp, limit: u32) -> Result<Vec<RemoteKey>, RecordsError> {
        self.write(EndRemote { by, now, limit }).await
    }

    /// Removes all responses about one piece of media from the cache, as [`evict_remote`](Self::evict_remote) does, and
    /// tells which there were.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing went.
    pub async fn forget_remote(&self, mxc: Mxc, now: Timestamp) -> Result<Vec<RemoteKey>, RecordsError> {
        self.write(Forget { mxc, now }).await
    }
}

const SELECT_USAGE: &str = "SELECT bytes, responses FROM remote_usage WHERE id = 1";

impl From<(i64, i64)> for RemoteUsage {
    fn from((bytes, responses): (i64, i64)) -> Self {
        Self { bytes: u64::try_from(bytes).unwrap_or(0), responses: u64::try_from(responses).unwrap_or(0) }
    }
}

impl RemoteResponse {
    /// The columns `width`, `height` and `method`.
    fn columns(self) -> (i64, i64, &'static str) {
        match self {
            Self::Original => (0, 0, "original"),
            Self::Thumbnail { width, height, method } => (width.into(), height.into(), method.as_str()),
        }
    }

    fn from_columns(width: i64, height: i64, method: &str) -> Option<Self> {
        let method = match method {
            "original" => return Some(Self::Original),
            "scale" => ThumbnailMethod::Scale,
            "crop" => ThumbnailMethod::Crop,
            _ => return None,
        };
        Some(Self::Thumbnail { width: width.try_into().ok()?, height: height.try_into().ok()?, method })
    }
}

impl RemoteRow {
    fn into_found(self, mxc: &Mxc) -> Result<FoundMedia, RecordsError> {
        let inconsistent = |what: &str| RecordsError::Inconsistent(format!("{what} of {mxc}"));
        Ok(FoundMedia {
            record: MediaRecord {
                sha256: self.sha256.as_slice().try_into().map_err(|_| inconsistent("the hash"))?,
                size: u64::try_from(self.size).map_err(|_| inconsistent("the size"))?,
                content_type: self.content_type,
                filename: self.filename,
                uploader: None,
                created_at: Timestamp(self.fetched_at),
                lifetime: self.expires_at.map(Timestamp).into(),
                audience: remote_audience(self.audience.as_deref(), self.audience_id)
                    .ok_or_else(|| inconsistent("the audience"))?,
                redacted_at: self.redacted_at.map(Timestamp),
            },
            body: body_from(self.location, self.body).ok_or_else(|| inconsistent("the blob"))?,
        })
    }
}

impl Statement for InsertRemote {
    type Output = InsertOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<InsertOutcome, RecordsError> {
        if self.source == RemoteSource::Made && !self.is_made_of_what_is_kept(connection).await? {
            return Ok(InsertOutcome::Deduplicated);
        }
        // The new reference comes before the old one goes: of equal bytes the blob stays.
        let (blob_id, outcome) = refer_to_blob(connection, &self.blob).await?;
        if let Some(before) = Kept::find(connection, &self.key).await? {
            before.remove(connection, self.fetched_at).await?;
        }
        let (width, height, method) = self.key.response.columns();
        let (audience, audience_id) = remote_columns(&self.audience);
        query(
            "INSERT INTO remote_cache (server_name, media_id, width, height, method, blob_id, content_type, filename,
                                       fetched_at, last_access, expires_at, audience, audience_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12)",
        )
        .bind(self.key.mxc.server_name.as_str())
        .bind(self.key.mxc.media_id.as_str())
        .bind(width)
        .bind(height)
        .bind(method)
        .bind(blob_id)
        .bind(self.content_type.as_slice())
        .bind(self.filename.as_deref())
        .bind(self.fetched_at.as_millis())
        .bind(Option::<Timestamp>::from(self.lifetime).map(Timestamp::as_millis))
        .bind(audience)
        .bind(audience_id)
        .execute(&mut *connection)
        .await?;
        query("UPDATE remote_usage SET bytes = bytes + $1, responses = responses + 1 WHERE id = 1")
            .bind(signed(self.blob.size))
            .execute(&mut *connection)
            .await?;
        if self.source == RemoteSource::Origin {
            set_audience(connection, &self.key.mxc, &self.audience).await?;
        }
        if let Audience::Event(event_id) = &self.audience {
            // What belongs to a redacted event goes with the next sweep.
            query(
                "UPDATE linked_events SET removal_due = COALESCE(removal_due, redacted_at)
                 WHERE event_id = $1 AND redacted_at IS NOT NULL",
            )
            .bind(event_id.as_str())
            .execute(&mut *connection)
            .await?;
        }
        Ok(outcome)
    }
}

impl InsertRemote {
    async fn is_made_of_what_is_kept(&self, connection: &mut Connection) -> Result<bool, RecordsError> {
        let kept: Option<(Option<String>, Option<String>)> = query_as(
            "SELECT audience, audience_id FROM remote_cache
             WHERE server_name = $1 AND media_id = $2 AND method = 'original'",
        )
        .bind(self.key.mxc.server_name.as_str())
        .bind(self.key.mxc.media_id.as_str())
        .fetch_optional(connection)
        .await?;
        let audience = kept.and_then(|(audience, id)| remote_audience(audience.as_deref(), id));
        Ok(audience.as_ref() == Some(&self.audience))
    }
}

/// Makes all responses about this media be for this audience, and tells which were for another one.
async fn set_audience(
    connection: &mut Connection,
    mxc: &Mxc,
    audience: &Audience,
) -> Result<Vec<RemoteKey>, RecordsError> {
    let (audience, audience_id) = remote_columns(audience);
    let changed: Vec<(i64, i64, String)> = query_as(
        "UPDATE remote_cache SET audience = $3, audience_id = $4
         WHERE server_name = $1 AND media_id = $2
         AND (COALESCE(audience, '') <> COALESCE($3, '') OR COALESCE(audience_id, '') <> COALESCE($4, ''))
         RETURNING width, height, method",
    )
    .bind(mxc.server_name.as_str())
    .bind(mxc.media_id.as_str())
    .bind(audience)
    .bind(audience_id)
    .fetch_all(connection)
    .await?;
    let key = |(width, height, method): (i64, i64, String)| {
        let response = RemoteResponse::from_columns(width, height, &method)
            .ok_or_else(|| RecordsError::Inconsistent(format!("a response about {mxc}")))?;
        Ok(RemoteKey { mxc: mxc.clone(), response })
    };
    changed.into_iter().map(key).collect()
}

struct Restrict {
    mxc: Mxc,
    audience: Audience,
}

impl Statement for Restrict {
    type Output = Vec<RemoteKey>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<RemoteKey>, RecordsError> {
        set_audience(connection, &self.mxc, &self.audience).await
    }
}

struct Touch(Vec<(RemoteKey, Timestamp)>);

impl Statement for Touch {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        for (key, at) in &self.0 {
            let (width, height, method) = key.response.columns();
            query(
                "UPDATE remote_cache SET last_access = $1 WHERE server_name = $2 AND media_id = $3 AND width = $4
                 AND height = $5 AND method = $6 AND last_access < $1",
            )
            .bind(at.as_millis())
            .bind(key.mxc.server_name.as_str())
            .bind(key.mxc.media_id.as_str())
            .bind(width)
            .bind(height)
            .bind(method)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

impl Statement for EvictRemote {
    type Output = Evicted;

    async fn run(&self, connection: &mut Connection) -> Result<Evicted, RecordsError> {
        let row: (i64, i64) = query_as(SELECT_USAGE).fetch_one(&mut *connection).await?;
        let mut bytes = RemoteUsage::from(row).bytes;
        let oldest: Vec<Kept> = query_as(
            "SELECT r.server_name, r.media_id, r.width, r.height, r.method, r.blob_id, b.size, r.last_access
             FROM remote_cache r JOIN blobs b ON b.id = r.blob_id ORDER BY r.last_access LIMIT $1",
        )
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut evicted = Evicted::default();
        for kept in oldest {
            let unused = self.unused_since.is_some_and(|since| kept.last_access < since.as_millis());
            let too_much = self.max_bytes.is_some_and(|max| bytes > max);
            if !unused && !too_much {
                break;
            }
            kept.remove(connection, self.now).await?;
            bytes = bytes.saturating_sub(kept.bytes());
            evicted.bytes += kept.bytes();
            evicted.keys.push(kept.key()?);
        }
        Ok(evicted)
    }
}

struct EndRemote {
    by: Timestamp,
    now: Timestamp,
    limit: u32,
}

impl Statement for EndRemote {
    type Output = Vec<RemoteKey>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<RemoteKey>, RecordsError> {
        let over: Vec<Kept> = query_as(
            "SELECT r.server_name, r.media_id, r.width, r.height, r.method, r.blob_id, b.size, r.last_access
             FROM remote_cache r JOIN blobs b ON b.id = r.blob_id WHERE r.expires_at <= $1
             ORDER BY r.expires_at LIMIT $2",
        )
        .bind(self.by.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut ended = Vec::with_capacity(over.len());
        for kept in over {
            kept.remove(connection, self.now).await?;
            ended.push(kept.key()?);
        }
        Ok(ended)
    }
}

struct Forget {
    mxc: Mxc,
    now: Timestamp,
}

impl Statement for Forget {
    type Output = Vec<RemoteKey>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<RemoteKey>, RecordsError> {
        let responses: Vec<Kept> = query_as(
            "SELECT r.server_name, r.media_id, r.width, r.height, r.method, r.blob_id, b.size, r.last_access
             FROM remote_cache r JOIN blobs b ON b.id = r.blob_id WHERE r.server_name = $1 AND r.media_id = $2
             ORDER BY r.width, r.height, r.method",
        )
        .bind(self.mxc.server_name.as_str())
        .bind(self.mxc.media_id.as_str())
        .fetch_all(&mut *connection)
        .await?;
        let mut forgotten = Vec::with_capacity(responses.len());
        for kept in responses {
            kept.remove(connection, self.now).await?;
            forgotten.push(kept.key()?);
        }
        Ok(forgotten)
    }
}

/// Removes all copies of media that belongs to an event, and tells which there were.
pub(super) async fn forget_of_event(
    connection: &mut Connection,
    event_id: &str,
    now: Timestamp,
) -> Result<Vec<RemoteKey>, RecordsError> {
    let responses: Vec<Kept> = query_as(
        "SELECT r.server_name, r.media_id, r.width, r.height, r.method, r.blob_id, b.size, r.last_access
         FROM remote_cache r JOIN blobs b ON b.id = r.blob_id WHERE r.audience = 'event' AND r.audience_id = $1",
    )
    .bind(event_id)
    .fetch_all(&mut *connection)
    .await?;
    let mut forgotten = Vec::with_capacity(responses.len());
    for kept in responses {
        kept.remove(connection, now).await?;
        forgotten.push(kept.key()?);
    }
    Ok(forgotten)
}

/// Forgets all responses that have the bytes of this blob.
pub(super) async fn forget_responses_with(
    connection: &mut Connection,
    blob_id: i64,
    now: Timestamp,
) -> Result<Vec<RemoteKey>, RecordsError> {
    let responses: Vec<Kept> = query_as(
        "SELECT r.server_name, r.media_id, r.width, r.height, r.method, r.blob_id, b.size, r.last_access
         FROM remote_cache r JOIN blobs b ON b.id = r.blob_id WHERE r.blob_id = $1",
    )
    .bind(blob_id)
    .fetch_all(&mut *connection)
    .await?;
    let mut forgotten = Vec::with_capacity(responses.len());
    for kept in responses {
        kept.remove(connection, now).await?;
        forgotten.push(kept.key()?);
    }
    Ok(forgotten)
}

/// A row that may go.
#[derive(FromRow)]
struct Kept {
    server_name: String,
    media_id: String,
    width: i64,
    height: i64,
    method: String,
    blob_id: i64,
    size: i64,
    last_access: i64,
}

impl Kept {
    async fn find(connection: &mut Connection, key: &RemoteKey) -> Result<Option<Self>, RecordsError> {
        let (width, height, method) = key.response.columns();
        let row = query_as(
            "SELECT r.server_name, r.media_id, r.width, r.height, r.method, r.blob_id, b.size, r.last_access
             FROM remote_cache r JOIN blobs b ON b.id = r.blob_id
             WHERE r.server_name = $1 AND r.media_id = $2 AND r.width = $3 AND r.height = $4 AND r.method = $5",
        )
        .bind(key.mxc.server_name.as_str())
        .bind(key.mxc.media_id.as_str())
        .bind(width)
        .bind(height)
        .bind(method)
        .fetch_optional(connection)
        .await?;
        Ok(row)
    }

    /// Removes the row, its share of the sum, and its reference to the blob.
    async fn remove(&self, connection: &mut Connection, now: Timestamp) -> Result<(), RecordsError> {
        query(
            "DELETE FROM remote_cache
             WHERE server_name = $1 AND media_id = $2 AND width = $3 AND height = $4 AND method = $5",
        )
        .bind(&self.server_name)
        .bind(&self.media_id)
        .bind(self.width)
        .bind(self.height)
        .bind(&self.method)
        .execute(&mut *connection)
        .await?;
        query("UPDATE remote_usage SET bytes = bytes - $1, responses = responses - 1 WHERE id = 1")
            .bind(self.size)
            .execute(&mut *connection)
            .await?;
        release_blob(connection, self.blob_id, now).await
    }

    fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    fn key(&self) -> Result<RemoteKey, RecordsError> {
        let inconsistent =
            || RecordsError::Inconsistent(format!("remote media, {}/{}", self.server_name, self.media_id));
        Ok(RemoteKey {
            mxc: Mxc::from_parts(&self.server_name, &self.media_id).map_err(|_| inconsistent())?,
            response: RemoteResponse::from_columns(self.width, self.height, &self.method).ok_or_else(inconsistent)?,
        })
    }
}
