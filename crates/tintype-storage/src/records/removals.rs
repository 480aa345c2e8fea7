//! Blobs that no record names any more: their rows go with the last reference, their files through a queue.
//!
//! A location enters the queue in the transaction that takes its last reference, and leaves it when its file is gone. So a
//! process that is killed in between forgets no file, and a removal that fails is tried again.

use tintype_domain::Timestamp;

use super::{Records, RecordsError, Statement};
use crate::blobs::Location;
use crate::records::sql::{Connection, query, query_as};

impl Records {
    /// At most `limit` locations whose files are to be removed, those that have waited longest first. They stay in the
    /// queue until [`removed`](Self::removed) is told.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn removals(&self, limit: u32) -> Result<Vec<Location>, RecordsError> {
        let rows: Vec<(String,)> = query_as("SELECT location FROM removals ORDER BY queued_at, location LIMIT $1")
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        let parse = |(location,): (String,)| {
            Location::parse(&location).ok_or_else(|| RecordsError::Inconsistent(format!("the removal of {location}")))
        };
        rows.into_iter().map(parse).collect()
    }

    /// How many files are to be removed, and since when the first of them waits.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn owed_removals(&self) -> Result<(u64, Option<Timestamp>), RecordsError> {
        let (count, oldest): (i64, Option<i64>) =
            query_as("SELECT COUNT(*), MIN(queued_at) FROM removals").fetch_one(&self.readers).await?;
        Ok((u64::try_from(count).unwrap_or(0), oldest.map(Timestamp)))
    }

    /// Takes locations out of the queue: their files are gone.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then all of them are still in the queue.
    pub async fn removed(&self, locations: Vec<Location>) -> Result<(), RecordsError> {
        self.write(Removed(locations)).await
    }
}

struct Removed(Vec<Location>);

impl Statement for Removed {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        for location in &self.0 {
            query("DELETE FROM removals WHERE location = $1").bind(location.as_str()).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// Takes back one reference to the blob. With the last one its row goes, and its file, if it has one, is queued.
pub(super) async fn release_blob(
    connection: &mut Connection,
    blob_id: i64,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let (references, location): (i64, Option<String>) =
        query_as("UPDATE blobs SET refs = refs - 1 WHERE id = $1 RETURNING refs, location")
            .bind(blob_id)
            .fetch_one(&mut *connection)
            .await?;
    if references > 0 {
        return Ok(());
    }
    query("DELETE FROM blobs WHERE id = $1").bind(blob_id).execute(&mut *connection).await?;
    if let Some(location) = location {
        query("INSERT INTO removals (location, queued_at) VALUES ($1, $2) ON CONFLICT (location) DO NOTHING")
            .bind(location)
            .bind(now.as_millis())
            .execute(connection)
            .await?;
    }
    Ok(())
}
