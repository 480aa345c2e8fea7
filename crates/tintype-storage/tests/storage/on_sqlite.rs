//! A database of a test's own: a file.

use std::path::PathBuf;

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tintype_storage::records::Records;

/// Where the database is. It has to live as long as its records do.
pub(super) struct Home(TempDir);

impl Home {
    /// The database's file.
    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("records.db")
    }

    /// Opens the records, as another process does.
    pub(super) async fn open(&self) -> Records {
        Records::open_sqlite(&self.file()).await.expect("the database opens")
    }

    /// Runs statements behind the records' back.
    pub(super) async fn run(&self, sql: String) {
        let options = SqliteConnectOptions::new().filename(self.file());
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the database opens");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statements can be run");
    }
}

/// Records with nothing in them.
pub(super) async fn records() -> (Records, Home) {
    let home = Home(TempDir::new().expect("there is room for a folder"));
    (home.open().await, home)
}
