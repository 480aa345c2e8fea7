//! Records of media, and of the blobs that they name.

use bytes::Bytes;
use sqlx::FromRow;
use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OwnedUserId, Timestamp, UserId};

use super::{
    Quota, Records, RecordsError, Statement,
    linked::{LinkColumns, insert_link},
    usage::{Usage, signed},
};
use crate::blobs::Location;
use crate::records::sql::{Connection, Engine, query, query_as};

/// What is known of a stored piece of media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRecord {
    /// The SHA-256 of its bytes.
    pub sha256: ContentHash,
    /// Its length in bytes.
    pub size: u64,
    /// The `Content-Type` it was uploaded with, byte for byte.
    pub content_type: Vec<u8>,
    /// The file name it was uploaded with.
    pub filename: Option<String>,
    /// Who uploaded it; none for what another server sent.
    pub uploader: Option<OwnedUserId>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Who may see it.
    pub audience: Audience,
    /// Since when the event that it is attached to is redacted, if it is.
    pub redacted_at: Option<Timestamp>,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In the database, beside the record.
    Inline(Bytes),
    /// In the blob store.
    At(Location),
}

/// A record and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMedia {
    /// The record.
    pub record: MediaRecord,
    /// The bytes, or where they are.
    pub body: Body,
}

/// Bytes that are on stable storage, or go there with the record.
#[derive(Debug, Clone)]
pub struct NewBlob {
    /// The SHA-256 of the bytes.
    pub sha256: ContentHash,
    /// Their length.
    pub size: u64,
    /// The bytes themselves if they are small, else where they were written.
    pub body: Body,
}

/// A new piece of media, with the bytes that it names.
#[derive(Debug, Clone)]
pub struct InsertMedia {
    /// Its name, which must be new.
    pub mxc: Mxc,
    /// Its bytes.
    pub blob: NewBlob,
    /// Its `Content-Type`, byte for byte.
    pub content_type: Vec<u8>,
    /// Its file name.
    pub filename: Option<String>,
    /// Who uploaded it.
    pub uploader: OwnedUserId,
    /// When.
    pub created_at: Timestamp,
    /// What the uploader may store.
    pub quota: Quota,
    /// How long it lives.
    pub lifetime: NewLifetime,
    /// Who may see it. Of the upload to a URI that was reserved as restricted, only the time counts: who may see it was said
    /// with the reservation.
    pub audience: NewAudience,
}

/// Who may see new media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewAudience {
    /// Everybody with an account.
    Everyone,
    /// Restricted media (MSC3911): its uploader, until it is attached to something.
    Uploader {
        /// When it goes if it is still attached to nothing; [`Timestamp::NEVER`] where it stays.
        unattached_until: Timestamp,
    },
}

/// How long new media lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLifetime {
    /// It is kept.
    Kept,
    /// It is ephemeral (MSC4425).
    Ephemeral {
        /// When it ends by itself; [`Timestamp::NEVER`] where it does not.
        expires_at: Timestamp,
        /// What the uploader may have stored of this kind.
        quota: Quota,
    },
}

/// What became of an insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsertOutcome {
    /// It is recorded, and the record names the bytes given.
    Inserted,
    /// It is recorded, and the record names the same bytes stored earlier: those given are not needed.
    Deduplicated,
    /// The uploader's quota is reached; nothing was recorded.
    OverQuota,
    /// The uploader has as much ephemeral media as is allowed; nothing was recorded.
    OverEphemeralQuota,
}

#[derive(FromRow)]
struct MediaRow {
    sha256: Vec<u8>,
    size: i64,
    content_type: Vec<u8>,
    filename: Option<String>,
    uploader: String,
    created_at: i64,
    expires_at: Option<i64>,
    location: Option<String>,
    body: Option<Vec<u8>>,
    #[sqlx(flatten)]
    link: LinkColumns,
}

impl Records {
    /// The record of a piece of media, and where its bytes are; none if there is none.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_media(&self, mxc: &Mxc) -> Result<Option<FoundMedia>, RecordsError> {
        let row: Option<MediaRow> = query_as(
            "SELECT b.sha256, b.size, m.content_type, m.filename, m.uploader, m.created_at, m.expires_at,
             l.state, l.event_id, l.profile_user, e.redacted_at, b.location, b.body
             FROM media m JOIN blobs b ON b.id = m.blob_id
             LEFT JOIN linked_media l ON l.server_name = m.server_name AND l.media_id = m.media_id
             LEFT JOIN linked_events e ON e.event_id = l.event_id
             WHERE m.server_name = $1 AND m.media_id = $2",
        )
        .bind(mxc.server_name.as_str())
        .bind(mxc.media_id.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| row.into_found(mxc)).transpose()
    }

    /// Records a new piece of media and counts it against its uploader's quota.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was recorded.
    pub async fn insert_media(&self, media: InsertMedia) -> Result<InsertOutcome, RecordsError> {
        self.write(media).await
    }

    /// Whether a record names the bytes at this location, once and for all: of a transaction that is under way and would name
    /// them, also one whose connection was lost, the end is waited for.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails. Then nothing is known.
    pub async fn is_recorded(&self, location: &Location) -> Result<bool, RecordsError> {
        self.write(IsRecorded(location.clone())).await
    }
}

struct IsRecorded(Location);

impl Statement for IsRecorded {
    type Output = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, RecordsError> {
        let Self(location) = self;
        let hash = location.content_hash();
        if connection.engine() == Engine::Postgres {
            // Whoever inserts the same hash holds its place in the index until they have committed or are gone, and we wait
            // for that here. Nobody else ever sees this row.
            let place = query(
                "INSERT INTO blobs (sha256, size, location, refs) VALUES ($1, 0, $2, 0) ON CONFLICT (sha256) DO NOTHING",
            );
            let place = place.bind(&hash.as_bytes()[..]).bind(location.as_str());
            if place.execute(&mut *connection).await?.rows_affected() == 1 {
                let leave = query("DELETE FROM blobs WHERE sha256 = $1");
                leave.bind(&hash.as_bytes()[..]).execute(&mut *connection).await?;
                return Ok(false);
            }
        }
        let row: Option<(i64,)> = query_as("SELECT CAST(1 AS BIGINT) FROM blobs WHERE sha256 = $1 AND location = $2")
            .bind(&hash.as_bytes()[..])
            .bind(location.as_str())
            .fetch_optional(connection)
            .await?;
        Ok(row.is_some())
    }
}

impl MediaRow {
    fn into_found(self, mxc: &Mxc) -> Result<FoundMedia, RecordsError> {
        let inconsistent = |what: &str| RecordsError::Inconsistent(format!("{what} of {mxc}"));
        Ok(FoundMedia {
            record: MediaRecord {
                sha256: self.sha256.as_slice().try_into().map_err(|_| inconsistent("the hash"))?,
                size: u64::try_from(self.size).map_err(|_| inconsistent("the size"))?,
                content_type: self.content_type,
                filename: self.filename,
                uploader: Some(self.uploader.try_into().map_err(|_| inconsistent("the uploader"))?),
                created_at: Timestamp(self.created_at),
                lifetime: self.expires_at.map(Timestamp).into(),
                redacted_at: self.link.redacted_at.map(Timestamp),
                audience: self.link.into_audience().ok_or_else(|| inconsistent("the link"))?,
            },
            body: body_from(self.location, self.body).ok_or_else(|| inconsistent("the blob"))?,
        })
    }
}

/// Exactly one of the two is there; the schema checks it, and so do we.
pub(super) fn body_from(location: Option<String>, body: Option<Vec<u8>>) -> Option<Body> {
    match (location, body) {
        (Some(location), None) => Location::parse(&location).map(Body::At),
        (None, Some(body)) => Some(Body::Inline(body.into())),
        _ => None,
    }
}

impl Statement for InsertMedia {
    type Output = InsertOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<InsertOutcome, RecordsError> {
        if !self.quota.allows(Usage::default(), self.blob.size) {
            return Ok(InsertOutcome::OverQuota);
        }
        let expires_at = match self.lifetime {
            NewLifetime::Kept => None,
            NewLifetime::Ephemeral { expires_at, quota } => {
                if !quota.allows(ephemeral_usage(connection, &self.uploader).await?, self.blob.size) {
                    return Ok(InsertOutcome::OverEphemeralQuota);
                }
                Some(expires_at.as_millis())
            }
        };
        let (location, body) = self.blob.columns();
        let insert_media = match connection.engine() {
            Engine::Sqlite => INSERT_MEDIA,
            Engine::Postgres => INSERT_MEDIA_POSTGRES,
        };
        let references: Vec<(i64,)> = query_as(insert_media)
            .bind(self.uploader.as_str())
            .bind(signed(self.blob.size))
            .bind(signed(self.quota.bytes))
            .bind(signed(self.quota.media))
            .bind(&self.blob.sha256.as_bytes()[..])
            .bind(location)
            .bind(body)
            .bind(self.mxc.server_name.as_str())
            .bind(self.mxc.media_id.as_str())
            .bind(self.content_type.as_slice())
            .bind(self.filename.as_deref())
            .bind(self.created_at.as_millis())
            .bind(expires_at)
            .fetch_all(&mut *connection)
            .await?;
        let Some(&(references,)) = references.first() else { return Ok(InsertOutcome::OverQuota) };
        if let NewAudience::Uploader { unattached_until } = self.audience {
            insert_link(connection, &self.mxc, &self.uploader, self.created_at, unattached_until).await?;
        }
        Ok(outcome(references))
    }
}

/// What the user has stored of ephemeral media.
async fn ephemeral_usage(connection: &mut Connection, user: &UserId) -> Result<Usage, RecordsError> {
    let (media, bytes): (i64, i64) = query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(b.size), 0) AS BIGINT) FROM media m JOIN blobs b ON b.id = m.blob_id
         WHERE m.uploader = $1 AND m.expires_at IS NOT NULL",
    )
    .bind(user.as_str())
    .fetch_one(connection)
    .await?;
    Ok(Usage { bytes: u64::try_from(bytes).unwrap_or(0), media: u64::try_from(media).unwrap_or(0) })
}

/// Three statements in one message to the database's thread, since the way there and back costs more than their work.
/// Each of them takes effect only if the one before it did. The first one decides about the quota: it is the only
/// refusal, and it leaves nothing to undo. The second one tells how many records name the blob now.
const INSERT_MEDIA: &str = "
    INSERT INTO usage (user_id, bytes, media) VALUES ($1, $2, 1)
        ON CONFLICT (user_id) DO UPDATE SET bytes = usage.bytes + $2, media = usage.media + 1
        WHERE usage.bytes <= $3 - $2 AND usage.media < $4;
    INSERT INTO blobs (sha256, size, location, refs, body) SELECT $5, $2, $6, 1, $7 WHERE changes() = 1
        ON CONFLICT (sha256) DO UPDATE SET refs = blobs.refs + 1
        RETURNING refs;
    INSERT INTO media (server_name, media_id, blob_id, content_type, filename, uploader, created_at,
                       expires_at)
        SELECT $8, $9, blobs.id, $10, $11, $1, $12, $13 FROM blobs WHERE changes() = 1 AND blobs.sha256 = $5";

/// The same in one statement: PostgreSQL has no `changes()`, and each part reads the rows of the one before it.
const INSERT_MEDIA_POSTGRES: &str = "
    WITH counted AS (
        INSERT INTO usage (user_id, bytes, media) VALUES ($1, $2, 1)
            ON CONFLICT (user_id) DO UPDATE SET bytes = usage.bytes + $2, media = usage.media + 1
            WHERE usage.bytes <= $3 - $2 AND usage.media < $4
            RETURNING 1
    ), blob AS (
        INSERT INTO blobs (sha256, size, location, refs, body) SELECT $5, $2, $6, 1, $7 FROM counted
            ON CONFLICT (sha256) DO UPDATE SET refs = blobs.refs + 1
            RETURNING id, refs
    )
    INSERT INTO media (server_name, media_id, blob_id, content_type, filename, uploader, created_at,
                       expires_at)
        SELECT $8, $9, blob.id, $10, $11, $1, $12, $13 FROM blob
        RETURNING (SELECT refs FROM blob)";

impl NewBlob {
    /// The columns `location` and `body`, of which one is null.
    fn columns(&self) -> (Option<&str>, Option<&[u8]>) {
        match &self.body {
            Body::At(location) => (Some(location.as_str()), None),
            Body::Inline(bytes) => (None, Some(bytes)),
        }
    }
}

/// A row that is new has one reference; every other row was there before, with its own bytes.
fn outcome(references: i64) -> InsertOutcome {
    if references == 1 { InsertOutcome::Inserted } else { InsertOutcome::Deduplicated }
}

/// Counts one more reference to the blob, and records it if these bytes are new.
pub(super) async fn refer_to_blob(
    connection: &mut Connection,
    blob: &NewBlob,
) -> Result<(i64, InsertOutcome), RecordsError> {
    let (location, body) = blob.columns();
    let (id, refs): (i64, i64) = query_as(
        "INSERT INTO blobs (sha256, size, location, refs, body) VALUES ($1, $2, $3, 1, $4)
         ON CONFLICT (sha256) DO UPDATE SET refs = blobs.refs + 1
         RETURNING id, refs",
    )
    .bind(&blob.sha256.as_bytes()[..])
    .bind(signed(blob.size))
    .bind(location)
    .bind(body)
    .fetch_one(connection)
    .await?;
    Ok((id, outcome(refs)))
}
