//! What an installation remembers of itself.

use tintype_domain::Timestamp;

use super::{Records, RecordsError, Statement};
use crate::records::sql::{Connection, query, query_as};

struct RememberFirstStart(Timestamp);

impl Records {
    /// When this installation first started; `now`, and remembered from then on, if it never did before.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn first_start(&self, now: Timestamp) -> Result<Timestamp, RecordsError> {
        // Read first: a server must start on a disk where nothing can be written any more, to serve what it has.
        let remembered: Option<(String,)> =
            query_as("SELECT value FROM settings WHERE name = 'first_start'").fetch_optional(&self.readers).await?;
        match remembered {
            Some((value,)) => parse(&value),
            None => self.write(RememberFirstStart(now)).await,
        }
    }
}

fn parse(value: &str) -> Result<Timestamp, RecordsError> {
    value.parse().map(Timestamp).map_err(|_| RecordsError::Inconsistent("the time of the first start".to_owned()))
}

impl Statement for RememberFirstStart {
    type Output = Timestamp;

    async fn run(&self, connection: &mut Connection) -> Result<Timestamp, RecordsError> {
        let (value,): (String,) = query_as(
            "INSERT INTO settings (name, value) VALUES ('first_start', $1)
             ON CONFLICT (name) DO UPDATE SET value = settings.value
             RETURNING value",
        )
        .bind(self.0.as_millis().to_string())
        .fetch_one(connection)
        .await?;
        parse(&value)
    }
}

/// Something that is remembered under a name, for work that may be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// How far the blobs are that are moved to another store.
    BlobsMoved,
    /// Since when all blobs are checked, and how far that is.
    Scrub,
    /// When it was last looked for what nobody knows in the store.
    Strays,
    /// A name of this installation, for itself.
    Installation,
}

impl Note {
    fn name(self) -> &'static str {
        match self {
            Self::BlobsMoved => "blobs_moved",
            Self::Scrub => "scrub",
            Self::Strays => "strays",
            Self::Installation => "installation",
        }
    }
}

impl Records {
    /// What was noted last.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn noted(&self, note: Note) -> Result<Option<String>, RecordsError> {
        let row: Option<(String,)> = query_as("SELECT value FROM settings WHERE name = $1")
            .bind(note.name())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|(value,)| value))
    }

    /// Notes it, or forgets it if nothing is given.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn note(&self, note: Note, value: Option<String>) -> Result<(), RecordsError> {
        self.write(WriteNote { note, value }).await
    }
}

struct WriteNote {
    note: Note,
    value: Option<String>,
}

impl Statement for WriteNote {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        let statement = match self.value {
            Some(_) => "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
            None => "DELETE FROM settings WHERE name = $1 AND CAST($2 AS TEXT) IS NULL",
        };
        query(statement).bind(self.note.name()).bind(self.value.as_deref()).execute(connection).await?;
        Ok(())
    }
}
