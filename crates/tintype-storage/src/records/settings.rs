//! What an installation remembers of itself.

use tintype_domain::Timestamp;

use super::{Records, RecordsError, Statement};
use crate::records::sql::{Connection, query_as};

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
