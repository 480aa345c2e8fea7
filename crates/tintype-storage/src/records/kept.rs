//! All blobs that are kept in the blob store, in an order: for work that goes through them.

use std::collections::HashSet;

use super::{Records, RecordsError};
use crate::{blobs::Location, records::sql::query_as};

/// A blob that some record names, and that is in the blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBlob {
    /// Its place in the order; never used for another blob while this one is there.
    pub id: i64,
    /// Where it is.
    pub location: Location,
    /// Its length in bytes.
    pub size: u64,
}

/// Many of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptBlobs {
    /// How many.
    pub blobs: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
}

impl Records {
    /// At most `limit` blobs that come after this one, 0 before all; none after the last one.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn kept_blobs(&self, after: i64, limit: u32) -> Result<Vec<KeptBlob>, RecordsError> {
        let rows: Vec<(i64, String, i64)> = query_as(
            "SELECT id, location, size FROM blobs WHERE id > $1 AND location IS NOT NULL ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let parsed = |(id, location, size): (i64, String, i64)| {
            let inconsistent = || RecordsError::Inconsistent(format!("the blob {location}"));
            let size = u64::try_from(size).map_err(|_| inconsistent())?;
            Ok(KeptBlob { id, location: Location::parse(&location).ok_or_else(inconsistent)?, size })
        };
        rows.into_iter().map(parsed).collect()
    }

    /// How many blobs there are that come after this one, and how long they are.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn count_kept_blobs(&self, after: i64) -> Result<KeptBlobs, RecordsError> {
        let (blobs, bytes): (i64, i64) = query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs WHERE id > $1 AND location IS NOT NULL",
        )
        .bind(after)
        .fetch_one(&self.readers)
        .await?;
        Ok(KeptBlobs { blobs: u64::try_from(blobs).unwrap_or(0), bytes: u64::try_from(bytes).unwrap_or(0) })
    }

    /// The locations of all blobs whose hash begins with this byte.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn locations_of(&self, first: u8) -> Result<HashSet<Location>, RecordsError> {
        let mut last = [u8::MAX; 32];
        last[0] = first;
        let rows: Vec<(String,)> =
            query_as("SELECT location FROM blobs WHERE sha256 >= $1 AND sha256 <= $2 AND location IS NOT NULL")
                .bind(vec![first])
                .bind(last.to_vec())
                .fetch_all(&self.readers)
                .await?;
        let parse = |(location,): (String,)| {
            Location::parse(&location).ok_or_else(|| RecordsError::Inconsistent(format!("the blob {location}")))
        };
        rows.into_iter().map(parse).collect()
    }

    /// Whether a record that is committed names the bytes at this location. Of what is about to be recorded this says
    /// nothing: see [`is_recorded`](Self::is_recorded).
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn is_kept(&self, location: &Location) -> Result<bool, RecordsError> {
        let hash = location.content_hash();
        let row: Option<(i64,)> = query_as("SELECT id FROM blobs WHERE sha256 = $1 AND location = $2")
            .bind(&hash.as_bytes()[..])
            .bind(location.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.is_some())
    }
}
