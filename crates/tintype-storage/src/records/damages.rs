//! Blobs whose bytes are not what was stored, or not there.
//!
//! What can be had again is forgotten at once: media of other servers is fetched again, and thumbnails are made again. What
//! cannot is noted here until it is mended: by a check that finds it sound, or by somebody who stores the same bytes again.

use tintype_domain::{Mxc, Timestamp};

use super::{
    KeptBlob, Records, RecordsError, RemoteKey, Statement, ThumbnailKey, ThumbnailMethod,
    remote::forget_responses_with,
    removals::release_blob,
    sql::{Connection, query, query_as},
};
use crate::blobs::Location;

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Its bytes are others than those that were stored.
    Changed,
    /// There are none.
    Missing,
}

/// Notes what is wrong with a blob.
#[derive(Debug, Clone)]
pub struct NoteDamage {
    /// Which.
    pub blob: KeptBlob,
    /// What.
    pub damage: Damage,
    /// When it was found.
    pub now: Timestamp,
}

/// What follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damaged {
    /// Media of ours that has these bytes, and no others: it stays.
    pub media: Vec<Mxc>,
    /// What was kept of other servers' media with these bytes: it is forgotten.
    pub responses: Vec<RemoteKey>,
    /// Thumbnails of media of ours with these bytes: they are forgotten.
    pub thumbnails: Vec<ThumbnailKey>,
}

/// A blob that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlob {
    /// Where it is.
    pub location: Location,
    /// The length that it should have, in bytes.
    pub size: u64,
    /// What is wrong with it.
    pub damage: Damage,
    /// Since when that is known.
    pub found_at: Timestamp,
    /// The media that has these bytes.
    pub media: Vec<Mxc>,
}

impl Records {
    /// Forgets what can be had again, and notes the damage to what is left. None if no record names the blob any more.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was changed.
    pub async fn note_damage(&self, damage: NoteDamage) -> Result<Option<Damaged>, RecordsError> {
        self.write(damage).await
    }

    /// A blob was found to be sound. Returns whether it was noted as damaged before.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn is_mended(&self, blob: &KeptBlob) -> Result<bool, RecordsError> {
        let noted: Option<(i64,)> = query_as("SELECT blob_id FROM damaged_blobs WHERE blob_id = $1")
            .bind(blob.id)
            .fetch_optional(&self.readers)
            .await?;
        if noted.is_none() {
            return Ok(false);
        }
        self.write(Mended(blob.id)).await
    }

    /// Puts bytes into the place of a blob that is damaged and had the same; what it was goes. Returns the media
    /// with these bytes; none if no blob with them is damaged.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was changed.
    pub async fn mend(&self, location: &Location, now: Timestamp) -> Result<Option<Vec<Mxc>>, RecordsError> {
        self.write(Mend { location: location.clone(), now }).await
    }

    /// All blobs that are damaged, those that were found first to begin with.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn damages(&self) -> Result<Vec<DamagedBlob>, RecordsError> {
        let rows: Vec<(i64, String, i64, i64, i64)> = query_as(
            "SELECT b.id, b.location, b.size, d.missing, d.found_at
             FROM damaged_blobs d JOIN blobs b ON b.id = d.blob_id ORDER BY d.found_at, b.id",
        )
        .fetch_all(&self.readers)
        .await?;
        let mut damages = Vec::with_capacity(rows.len());
        for (id, location, size, missing, found_at) in rows {
            let media: Vec<(String, String)> = query_as(
                "SELECT server_name, media_id FROM media WHERE blob_id = $1 ORDER BY created_at, server_name, media_id",
            )
            .bind(id)
            .fetch_all(&self.readers)
            .await?;
            damages.push(DamagedBlob {
                location: Location::parse(&location)
                    .ok_or_else(|| RecordsError::Inconsistent(format!("the blob {location}")))?,
                size: u64::try_from(size).unwrap_or(0),
                damage: if missing == 1 { Damage::Missing } else { Damage::Changed },
                found_at: Timestamp(found_at),
                media: media.iter().map(named).collect::<Result<_, _>>()?,
            });
        }
        Ok(damages)
    }

    /// How many blobs are damaged, and how many of them are missing.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn count_damages(&self) -> Result<(u64, u64), RecordsError> {
        let (all, missing): (i64, i64) =
            query_as("SELECT COUNT(*), CAST(COALESCE(SUM(missing), 0) AS BIGINT) FROM damaged_blobs")
                .fetch_one(&self.readers)
                .await?;
        Ok((u64::try_from(all).unwrap_or(0), u64::try_from(missing).unwrap_or(0)))
    }
}

fn named((server, id): &(String, String)) -> Result<Mxc, RecordsError> {
    Mxc::from_parts(server, id).map_err(|_| RecordsError::Inconsistent(format!("media, {server}/{id}")))
}

impl Statement for NoteDamage {
    type Output = Option<Damaged>;

    async fn run(&self, connection: &mut Connection) -> Result<Option<Damaged>, RecordsError> {
        let id = self.blob.id;
        if !is_there(connection, &self.blob).await? {
            return Ok(None);
        }
        let responses = forget_responses_with(connection, id, self.now).await?;
        let thumbnails = forget_thumbnails_with(connection, id, self.now).await?;
        let media: Vec<(String, String)> =
            query_as("SELECT server_name, media_id FROM media WHERE blob_id = $1 ORDER BY server_name, media_id")
                .bind(id)
                .fetch_all(&mut *connection)
                .await?;
        if !media.is_empty() {
            query(
                "INSERT INTO damaged_blobs (blob_id, missing, found_at) VALUES ($1, $2, $3)
                 ON CONFLICT (blob_id) DO UPDATE SET missing = $2",
            )
            .bind(id)
            .bind(self.damage == Damage::Missing)
            .bind(self.now.as_millis())
            .execute(connection)
            .await?;
        }
        let media = media.iter().map(named).collect::<Result<_, _>>()?;
        Ok(Some(Damaged { media, responses, thumbnails }))
    }
}

async fn is_there(connection: &mut Connection, blob: &KeptBlob) -> Result<bool, RecordsError> {
    let row: Option<(i64,)> = query_as("SELECT id FROM blobs WHERE id = $1 AND location = $2")
        .bind(blob.id)
        .bind(blob.location.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Forgets thumbnails of media of ours.
async fn forget_thumbnails_with(
    connection: &mut Connection,
    blob_id: i64,
    now: Timestamp,
) -> Result<Vec<ThumbnailKey>, RecordsError> {
    let rows: Vec<(String, String, i64, i64, String)> =
        query_as("DELETE FROM thumbnails WHERE blob_id = $1 RETURNING server_name, media_id, width, height, method")
            .bind(blob_id)
            .fetch_all(&mut *connection)
            .await?;
    let mut forgotten = Vec::with_capacity(rows.len());
    for (server, id, width, height, method) in rows {
        release_blob(connection, blob_id, now).await?;
        let inconsistent = || RecordsError::Inconsistent(format!("a thumbnail of {server}/{id}"));
        forgotten.push(ThumbnailKey {
            mxc: Mxc::from_parts(&server, &id).map_err(|_| inconsistent())?,
            width: u32::try_from(width).map_err(|_| inconsistent())?,
            height: u32::try_from(height).map_err(|_| inconsistent())?,
            method: match method.as_str() {
                "scale" => ThumbnailMethod::Scale,
                "crop" => ThumbnailMethod::Crop,
                _ => return Err(inconsistent()),
            },
        });
    }
    Ok(forgotten)
}

struct Mended(i64);

impl Statement for Mended {
    type Output = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, RecordsError> {
        let forget = query("DELETE FROM damaged_blobs WHERE blob_id = $1").bind(self.0);
        Ok(forget.execute(connection).await?.rows_affected() == 1)
    }
}

struct Mend {
    location: Location,
    now: Timestamp,
}

impl Statement for Mend {
    type Output = Option<Vec<Mxc>>;

    async fn run(&self, connection: &mut Connection) -> Result<Option<Vec<Mxc>>, RecordsError> {
        let hash = self.location.content_hash();
        let damaged: Option<(i64, String)> = query_as(
            "SELECT b.id, b.location FROM damaged_blobs d JOIN blobs b ON b.id = d.blob_id WHERE b.sha256 = $1",
        )
        .bind(&hash.as_bytes()[..])
        .fetch_optional(&mut *connection)
        .await?;
        let Some((id, before)) = damaged else { return Ok(None) };
        query("UPDATE blobs SET location = $2 WHERE id = $1")
            .bind(id)
            .bind(self.location.as_str())
            .execute(&mut *connection)
            .await?;
        query("DELETE FROM damaged_blobs WHERE blob_id = $1").bind(id).execute(&mut *connection).await?;
        query("INSERT INTO removals (location, queued_at) VALUES ($1, $2) ON CONFLICT (location) DO NOTHING")
            .bind(before)
            .bind(self.now.as_millis())
            .execute(&mut *connection)
            .await?;
        let media: Vec<(String, String)> = query_as("SELECT server_name, media_id FROM media WHERE blob_id = $1")
            .bind(id)
            .fetch_all(connection)
            .await?;
        media.iter().map(named).collect::<Result<_, _>>().map(Some)
    }
}
