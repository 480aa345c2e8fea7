//! Records of thumbnails: made once, kept beside the media that they are made from.

use sqlx::FromRow;
use tintype_domain::{ContentHash, Mxc, Timestamp};

use super::{
    Body, NewBlob, Records, RecordsError, Statement,
    media::{body_from, refer_to_blob},
};
use crate::records::sql::{Connection, query, query_as};

/// How a thumbnail fits the size asked for (client-server API, "Thumbnails").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThumbnailMethod {
    /// The picture's own aspect.
    Scale,
    /// The aspect asked for.
    Crop,
}

impl ThumbnailMethod {
    /// The method's name in requests and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Crop => "crop",
        }
    }
}

/// Which thumbnail of a piece of media.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ThumbnailKey {
    /// The media it is made from.
    pub mxc: Mxc,
    /// The width asked for, in pixels.
    pub width: u32,
    /// The height asked for, in pixels.
    pub height: u32,
    /// How it fits that size.
    pub method: ThumbnailMethod,
}

/// What is known of a thumbnail with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThumbnailRecord {
    /// The SHA-256 of its bytes.
    pub sha256: ContentHash,
    /// Its length in bytes.
    pub size: u64,
}

/// What serves as the thumbnail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThumbnailContent {
    /// The original, which is small enough.
    Original,
    /// Bytes of its own.
    Own(ThumbnailRecord, Body),
}

/// A thumbnail that was made earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundThumbnail {
    /// Its type: that of the bytes, whatever the uploader said.
    pub content_type: String,
    /// Its bytes.
    pub content: ThumbnailContent,
}

/// A thumbnail that was just made.
#[derive(Debug, Clone)]
pub struct InsertThumbnail {
    /// Which one.
    pub key: ThumbnailKey,
    /// Its type.
    pub content_type: &'static str,
    /// Its bytes; none where the original serves.
    pub blob: Option<NewBlob>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Sizes kept for one piece of media at most.
    pub max_sizes: u32,
}

/// What became of a thumbnail's insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThumbnailOutcome {
    /// The record names the bytes given.
    Inserted,
    /// The bytes given are not needed: the same ones, or the same thumbnail, are stored; or there are enough sizes.
    NotNeeded,
}

#[derive(FromRow)]
struct ThumbnailRow {
    content_type: String,
    blob_id: Option<i64>,
    sha256: Option<Vec<u8>>,
    size: Option<i64>,
    location: Option<String>,
    body: Option<Vec<u8>>,
}

impl Records {
    /// A thumbnail made earlier; none if it was not made.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_thumbnail(&self, key: &ThumbnailKey) -> Result<Option<FoundThumbnail>, RecordsError> {
        let row: Option<ThumbnailRow> = query_as(
            "SELECT t.content_type, t.blob_id, b.sha256, b.size, b.location, b.body
             FROM thumbnails t LEFT JOIN blobs b ON b.id = t.blob_id
             WHERE t.server_name = $1 AND t.media_id = $2 AND t.width = $3 AND t.height = $4 AND t.method = $5",
        )
        .bind(key.mxc.server_name.as_str())
        .bind(key.mxc.media_id.as_str())
        .bind(i64::from(key.width))
        .bind(i64::from(key.height))
        .bind(key.method.as_str())
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let inconsistent = || RecordsError::Inconsistent(format!("a thumbnail of {}", key.mxc));
        let content = match (row.blob_id, row.sha256, row.size) {
            (None, ..) => ThumbnailContent::Original,
            (Some(_), Some(sha256), Some(size)) => ThumbnailContent::Own(
                ThumbnailRecord {
                    sha256: sha256.as_slice().try_into().map_err(|_| inconsistent())?,
                    size: u64::try_from(size).map_err(|_| inconsistent())?,
                },
                body_from(row.location, row.body).ok_or_else(inconsistent)?,
            ),
            _ => return Err(inconsistent()),
        };
        Ok(Some(FoundThumbnail { content_type: row.content_type, content }))
    }

    /// Records a thumbnail.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was recorded.
    pub async fn insert_thumbnail(&self, thumbnail: InsertThumbnail) -> Result<ThumbnailOutcome, RecordsError> {
        self.write(thumbnail).await
    }
}

impl Statement for InsertThumbnail {
    type Output = ThumbnailOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<ThumbnailOutcome, RecordsError> {
        let key = &self.key;
        let (sizes, same): (i64, i64) = query_as(
            "SELECT COUNT(*), COUNT(CASE WHEN width = $3 AND height = $4 AND method = $5 THEN 1 END)
             FROM thumbnails WHERE server_name = $1 AND media_id = $2",
        )
        .bind(key.mxc.server_name.as_str())
        .bind(key.mxc.media_id.as_str())
        .bind(i64::from(key.width))
        .bind(i64::from(key.height))
        .bind(key.method.as_str())
        .fetch_one(&mut *connection)
        .await?;
        if same > 0 || sizes >= i64::from(self.max_sizes) {
            return Ok(ThumbnailOutcome::NotNeeded);
        }
        let (blob_id, outcome) = match &self.blob {
            None => (None, ThumbnailOutcome::Inserted),
            Some(blob) => match refer_to_blob(connection, blob).await? {
                (id, super::InsertOutcome::Inserted) => (Some(id), ThumbnailOutcome::Inserted),
                (id, _) => (Some(id), ThumbnailOutcome::NotNeeded),
            },
        };
        query(
            "INSERT INTO thumbnails (server_name, media_id, width, height, method, blob_id, content_type, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(key.mxc.server_name.as_str())
        .bind(key.mxc.media_id.as_str())
        .bind(i64::from(key.width))
        .bind(i64::from(key.height))
        .bind(key.method.as_str())
        .bind(blob_id)
        .bind(self.content_type)
        .bind(self.created_at.as_millis())
        .execute(connection)
        .await?;
        Ok(outcome)
    }
}
