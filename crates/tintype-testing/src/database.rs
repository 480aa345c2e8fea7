//! Rows that a test writes behind the server's back, whichever database it has.

use sqlx::{Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::TestServer;

/// A value of a row.
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

/// Runs a statement with its values on a connection, and says how many rows it changed.
macro_rules! execute {
    ($connection:expr, $statement:expr, $values:expr) => {{
        let mut query = sqlx::query($statement);
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        query.execute(&mut $connection).await.expect("the statement is valid").rows_affected()
    }};
}

impl TestServer {
    /// Runs a statement, in the dialect that both databases have, and returns how many rows it changed.
    pub(crate) async fn write(&self, statement: &'static str, values: impl IntoIterator<Item = Value>) -> u64 {
        const OPENS: &str = "the database can be opened";
        if let Some(url) = self.database_url() {
            let mut connection = PgConnection::connect(&url).await.expect(OPENS);
            return execute!(connection, statement, values);
        }
        let options = SqliteConnectOptions::new().filename(self.database_path());
        let mut connection = SqliteConnection::connect_with(&options).await.expect(OPENS);
        execute!(connection, statement, values)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(ToOwned::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}
