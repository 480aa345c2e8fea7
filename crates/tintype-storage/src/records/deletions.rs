//! Deleting ephemeral media (MSC4425), and what it leaves: a tombstone.
//!
//! One transaction does all of it: the record and its thumbnails go, their blobs are released, and the tombstone takes
//! their place. From its commit on nothing of the media is found. The files go through the queue of removals.

use sqlx::FromRow;
use tintype_domain::{Mxc, OwnedUserId, Timestamp};

use super::{Records, RecordsError, Statement, removals::release_blob};
use crate::blobs::PartialName;
use crate::records::sql::{Connection, query, query_as};

/// Who wants media to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleter {
    /// A user: media of their own.
    Owner(OwnedUserId),
    /// Somebody who administers the server: any.
    Admin,
}

/// Deletes a piece of ephemeral media, or the reservation of one.
#[derive(Debug, Clone)]
pub struct DeleteMedia {
    /// Which.
    pub mxc: Mxc,
    /// For whom.
    pub deleter: Deleter,
    /// When.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It is gone.
    Deleted {
        /// What was kept of an upload that was still to be gone on with.
        partial: Option<PartialName>,
    },
    /// It was gone before, and it was the deleter's.
    AlreadyDeleted,
    /// There is nothing here that the deleter may delete.
    Refused,
}

/// A row of `media` that may end.
#[derive(FromRow)]
struct Mortal {
    server_name: String,
    media_id: String,
    uploader: String,
    blob_id: i64,
    size: i64,
    /// None of what is not ephemeral.
    expires_at: Option<i64>,
}

/// What became of media that was to go, whoever wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// It was stored, and is gone.
    Removed {
        /// How long it was, in bytes.
        size: u64,
    },
    /// It was only reserved, and that is gone.
    Unreserved {
        /// What was kept of an upload that was still to be gone on with.
        partial: Option<PartialName>,
    },
    /// There is nothing under this name.
    Nothing,
}

impl Records {
    /// Deletes ephemeral media, or the URI that was reserved for it. Blobs that nothing else names go with it, their files
    /// through the queue of [`removals`](Self::removals).
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was deleted.
    pub async fn delete_media(&self, delete: DeleteMedia) -> Result<DeleteOutcome, RecordsError> {
        self.write(delete).await
    }

    /// Deletes ephemeral media whose time has come, `limit` pieces at most, and tells which.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was deleted.
    pub async fn end_media(&self, now: Timestamp, limit: u32) -> Result<Vec<Mxc>, RecordsError> {
        self.write(EndMedia { now, limit }).await
    }
}

impl Deleter {
    fn is_allowed(&self, owner: &str) -> bool {
        match self {
            Self::Owner(user) => user.as_str() == owner,
            Self::Admin => true,
        }
    }
}

impl Statement for DeleteMedia {
    type Output = DeleteOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<DeleteOutcome, RecordsError> {
        let (server_name, media_id) = (self.mxc.server_name.as_str(), self.mxc.media_id.as_str());
        let found: Option<Mortal> = query_as(
            "SELECT m.server_name, m.media_id, m.uploader, m.blob_id, b.size, m.expires_at
             FROM media m JOIN blobs b ON b.id = m.blob_id
             WHERE m.server_name = $1 AND m.media_id = $2 AND m.expires_at IS NOT NULL",
        )
        .bind(server_name)
        .bind(media_id)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(media) = found.filter(|media| self.deleter.is_allowed(&media.uploader)) {
            media.end(connection, self.now).await?;
            // What had ended by itself was gone already, whether it was swept or not.
            let over = media.expires_at.is_some_and(|expires_at| expires_at <= self.now.as_millis());
            return Ok(if over { DeleteOutcome::AlreadyDeleted } else { DeleteOutcome::Deleted { partial: None } });
        }
        let reserved: Option<(String, Option<String>)> = query_as(
            "SELECT creator, partial FROM reservations
             WHERE server_name = $1 AND media_id = $2 AND ephemeral = 1 AND swept = 0
             AND (expires_at > $3 OR holder IS NOT NULL)",
        )
        .bind(server_name)
        .bind(media_id)
        .bind(self.now.as_millis())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some((creator, partial)) = reserved.filter(|(creator, _)| self.deleter.is_allowed(creator)) {
            unreserve(connection, server_name, media_id, &creator, self.now).await?;
            return Ok(DeleteOutcome::Deleted { partial: partial.as_deref().and_then(PartialName::parse) });
        }
        let tombstone: Option<(String,)> =
            query_as("SELECT uploader FROM tombstones WHERE server_name = $1 AND media_id = $2")
                .bind(server_name)
                .bind(media_id)
                .fetch_optional(connection)
                .await?;
        Ok(match tombstone {
            Some((uploader,)) if self.deleter.is_allowed(&uploader) => DeleteOutcome::AlreadyDeleted,
            _ => DeleteOutcome::Refused,
        })
    }
}

struct EndMedia {
    now: Timestamp,
    limit: u32,
}

impl Statement for EndMedia {
    type Output = Vec<Mxc>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Mxc>, RecordsError> {
        let over: Vec<Mortal> = query_as(
            "SELECT m.server_name, m.media_id, m.uploader, m.blob_id, b.size, m.expires_at
             FROM media m JOIN blobs b ON b.id = m.blob_id WHERE m.expires_at <= $1 ORDER BY m.expires_at LIMIT $2",
        )
        .bind(self.now.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut ended = Vec::with_capacity(over.len());
        for media in over {
            media.end(connection, self.now).await?;
            let mxc = Mxc::from_parts(&media.server_name, &media.media_id);
            ended.push(mxc.map_err(|_| RecordsError::Inconsistent(format!("the media {}", media.media_id)))?);
        }
        Ok(ended)
    }
}

impl Mortal {
    /// Takes everything of the media away but its name.
    async fn end(&self, connection: &mut Connection, now: Timestamp) -> Result<(), RecordsError> {
        let thumbnails: Vec<(Option<i64>,)> =
            query_as("DELETE FROM thumbnails WHERE server_name = $1 AND media_id = $2 RETURNING blob_id")
                .bind(&self.server_name)
                .bind(&self.media_id)
                .fetch_all(&mut *connection)
                .await?;
        query("DELETE FROM media WHERE server_name = $1 AND media_id = $2")
            .bind(&self.server_name)
            .bind(&self.media_id)
            .execute(&mut *connection)
            .await?;
        for blob_id in thumbnails.into_iter().filter_map(|(blob_id,)| blob_id).chain([self.blob_id]) {
            release_blob(connection, blob_id, now).await?;
        }
        query("UPDATE usage SET bytes = bytes - $1, media = media - 1 WHERE user_id = $2")
            .bind(self.size)
            .bind(&self.uploader)
            .execute(&mut *connection)
            .await?;
        bury(connection, &self.server_name, &self.media_id, &self.uploader, now).await
    }
}

/// Takes a reservation away. A request that is bringing the upload does not hold it any more: nothing of it will be
/// recorded.
async fn unreserve(
    connection: &mut Connection,
    server_name: &str,
    media_id: &str,
    creator: &str,
    now: Timestamp,
) -> Result<(), RecordsError> {
    query("DELETE FROM reservations WHERE server_name = $1 AND media_id = $2")
        .bind(server_name)
        .bind(media_id)
        .execute(&mut *connection)
        .await?;
    bury(connection, server_name, media_id, creator, now).await
}

/// Takes media away, whatever it is and whosever, or the reservation of it. The caller has decided that it goes, in the
/// same transaction.
pub(super) async fn remove_media(
    connection: &mut Connection,
    mxc: &Mxc,
    now: Timestamp,
) -> Result<RemoveOutcome, RecordsError> {
    let (server_name, media_id) = (mxc.server_name.as_str(), mxc.media_id.as_str());
    let found: Option<Mortal> = query_as(
        "SELECT m.server_name, m.media_id, m.uploader, m.blob_id, b.size, m.expires_at
         FROM media m JOIN blobs b ON b.id = m.blob_id WHERE m.server_name = $1 AND m.media_id = $2",
    )
    .bind(server_name)
    .bind(media_id)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(media) = found {
        media.end(connection, now).await?;
        return Ok(RemoveOutcome::Removed { size: u64::try_from(media.size).unwrap_or(0) });
    }
    let reserved: Option<(String, Option<String>)> =
        query_as("SELECT creator, partial FROM reservations WHERE server_name = $1 AND media_id = $2")
            .bind(server_name)
            .bind(media_id)
            .fetch_optional(&mut *connection)
            .await?;
    let Some((creator, partial)) = reserved else { return Ok(RemoveOutcome::Nothing) };
    unreserve(connection, server_name, media_id, &creator, now).await?;
    Ok(RemoveOutcome::Unreserved { partial: partial.as_deref().and_then(PartialName::parse) })
}

/// The name stays, and who had it.
async fn bury(
    connection: &mut Connection,
    server_name: &str,
    media_id: &str,
    uploader: &str,
    now: Timestamp,
) -> Result<(), RecordsError> {
    query("INSERT INTO tombstones (server_name, media_id, uploader, deleted_at) VALUES ($1, $2, $3, $4)")
        .bind(server_name)
        .bind(media_id)
        .bind(uploader)
        .bind(now.as_millis())
        .execute(&mut *connection)
        .await?;
    for forget in [
        "DELETE FROM linked_media WHERE server_name = $1 AND media_id = $2",
        "DELETE FROM named_media WHERE server_name = $1 AND media_id = $2",
    ] {
        query(forget).bind(server_name).bind(media_id).execute(&mut *connection).await?;
    }
    Ok(())
}
