//! Words that nodes tell each other through the database: `NOTIFY` and `LISTEN`.
//!
//! What is told reaches everybody who listened when it was committed, in the order of the commits. Who loses the connection
//! misses what is told until the next one, and has to know that.

use sqlx::postgres::PgListener;

use super::{Records, RecordsError};
use crate::records::sql::query;

/// The channel. PostgreSQL keeps those of different databases apart.
const CHANNEL: &str = "tintype";

/// The longest text that can be told at once, in bytes. PostgreSQL takes less than 8000.
pub const LONGEST_TOLD: usize = 7900;

/// Hears what nodes tell each other, this one included.
#[derive(Debug)]
pub struct Ear(PgListener);

impl Records {
    /// Tells all nodes; when this returns it is committed.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn tell_nodes(&self, text: &str) -> Result<(), RecordsError> {
        query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text).execute(&self.nodes()?.connections).await?;
        Ok(())
    }

    /// Begins to hear what is told from now on.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn hear_nodes(&self) -> Result<Ear, RecordsError> {
        let mut listener = PgListener::connect_with(&self.nodes()?.pool).await?;
        // Another connection would be silent about what was missed between the two.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Ear(listener))
    }
}

impl Ear {
    /// The next that is told; none if the connection is lost, and with it what is told meanwhile.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn hear(&mut self) -> Result<Option<String>, RecordsError> {
        Ok(self.0.try_recv().await?.map(|told| told.payload().to_owned()))
    }
}
