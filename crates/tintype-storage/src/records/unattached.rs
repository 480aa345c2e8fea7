//! Restricted media that was never attached to anything (MSC3911): it goes when its time is over.
//!
//! One transaction finds it and takes it away, so that whoever attaches it meanwhile either comes first, and it stays, or
//! finds nothing. What is being attached is not unattached, however long it takes.

use tintype_domain::{Mxc, Timestamp};

use super::{Records, RecordsError, RemoveOutcome, Statement, deletions::remove_media, linked::mxc_from};
use crate::records::sql::{Connection, query, query_as};

/// Media that went because nobody attached it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unattached {
    /// Which.
    pub mxc: Mxc,
    /// What there was of it.
    pub removed: RemoveOutcome,
}

impl Records {
    /// Removes restricted media that is attached to nothing and whose time has come, `limit` pieces at most, and tells
    /// which. A URI that still waits for its upload is not removed before it expires.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was removed.
    pub async fn end_unattached(&self, now: Timestamp, limit: u32) -> Result<Vec<Unattached>, RecordsError> {
        self.write(EndUnattached { now, limit }).await
    }
}

struct EndUnattached {
    now: Timestamp,
    limit: u32,
}

impl Statement for EndUnattached {
    type Output = Vec<Unattached>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Unattached>, RecordsError> {
        let over: Vec<(String, String)> = query_as(
            "SELECT l.server_name, l.media_id FROM linked_media l
             WHERE l.state = 'unattached' AND l.unattached_until <= $1 AND NOT EXISTS (
               SELECT 1 FROM reservations r
               WHERE r.server_name = l.server_name AND r.media_id = l.media_id AND r.swept = 0)
             ORDER BY l.unattached_until LIMIT $2",
        )
        .bind(self.now.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut ended = Vec::with_capacity(over.len());
        for (server_name, media_id) in over {
            let mxc = mxc_from(&server_name, &media_id)?;
            let removed = remove_media(connection, &mxc, self.now).await?;
            if removed == RemoveOutcome::Nothing {
                // It would be found again each time, before all others.
                query("DELETE FROM linked_media WHERE server_name = $1 AND media_id = $2")
                    .bind(&server_name)
                    .bind(&media_id)
                    .execute(&mut *connection)
                    .await?;
            }
            ended.push(Unattached { mxc, removed });
        }
        Ok(ended)
    }
}
