//! A database of a test's own, on the PostgreSQL that all tests of this process share.

use sqlx::{Connection as _, PgConnection};
use tintype_services::{Database, Postgres};
use tintype_storage::records::Records;

/// Where the database is. It has to live as long as its records do.
pub(super) struct Home(Database);

impl Home {
    /// Opens the records, as another node does.
    pub(super) async fn open(&self) -> Records {
        Records::open_postgres(&self.0.url()).await.expect("the database opens")
    }

    /// Runs statements behind the records' back.
    pub(super) async fn run(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.0.url()).await.expect("the database opens");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statements can be run");
    }
}

/// Records with nothing in them.
pub(super) async fn records() -> (Records, Home) {
    let home = Home(Postgres::shared().database());
    (home.open().await, home)
}
