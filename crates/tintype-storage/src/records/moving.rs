//! Moves an installation's records from SQLite to PostgreSQL.
//!
//! Table by table, in batches, each of which is one transaction that also writes down how far it came: a move that was cut
//! goes on where it was. The source is locked meanwhile, so that what was moved stays what it was. Bodies that SQLite keeps
//! beside their records go to the blob store. Until the end the target is marked as unfinished, and no server opens it.
//! Columns are taken from the databases themselves: a migration need not think of this file.

mod comparing;
mod tables;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, postgres::PgArguments, query::Query as PgQuery,
    sqlite::SqliteConnectOptions,
};

use self::tables::{Cell, Column, Kind, Table};
use super::{PostgresDatabase, Records, RecordsError, postgres};
use crate::blobs::{Blobs, BlobsError, Location};

/// Rows of one batch at most, and bytes after which it is closed.
const ROWS: usize = 500;
const BYTES: usize = 4 * 1024 * 1024;

/// How long another process may hold the source. A server that runs writes for moments only, and is found by its lock.
const BUSY: Duration = Duration::from_secs(2);

/// The key of the lock that keeps two moves apart: "tintype" in ASCII.
const LOCK: i64 = 0x74_69_6E_74_79_70_65;

/// Why an installation was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the databases failed.
    #[error(transparent)]
    Records(RecordsError),
    /// A body could not be put into the blob store.
    #[error("a body could not be put into the blob store: {0}")]
    Blobs(#[from] BlobsError),
    /// The source is written by another process.
    #[error("the SQLite database is in use: stop the server first")]
    SourceInUse,
    /// Another move into the same database is under way.
    #[error("another move into this database is under way")]
    TargetInUse,
    /// The target holds an installation already.
    #[error("the PostgreSQL database is not empty: {table} has rows, and they do not come from this move")]
    TargetNotEmpty {
        /// A table that has rows.
        table: String,
    },
    /// The target knows less than the source.
    #[error("the PostgreSQL database has no place for {what}")]
    NoPlace {
        /// The table, or its column.
        what: String,
    },
    /// What arrived is not what was sent.
    #[error(
        "{table} differs: {source_rows} rows with the checksum {source_sum} in SQLite, {target_rows} with {target_sum} in \
         PostgreSQL; empty the PostgreSQL database and move again"
    )]
    Differs {
        /// The table.
        table: String,
        /// How many rows the source has.
        source_rows: u64,
        /// The checksum of their columns.
        source_sum: String,
        /// How many rows the target has.
        target_rows: u64,
        /// The checksum of their columns.
        target_sum: String,
    },
}

impl<E: Into<RecordsError>> From<E> for MoveError {
    fn from(error: E) -> Self {
        Self::Records(error.into())
    }
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveProgress<'t> {
    /// The table that is being moved.
    pub table: &'t str,
    /// How many of its rows are in the target.
    pub moved: u64,
    /// How many there are.
    pub rows: u64,
}

/// A move that was begun, now or earlier.
#[derive(Debug)]
pub struct Move {
    source: SqliteConnection,
    target: PgConnection,
    tables: Vec<Table>,
}

impl Move {
    /// Locks both databases and brings them up to date. A target with nothing in it is marked as the target of this move; one
    /// that is marked already goes on.
    ///
    /// # Errors
    /// A [`MoveError`] if one of them is in use, if the target has other content, or if a database fails.
    pub async fn begin(source: &Path, target: &PostgresDatabase) -> Result<Self, MoveError> {
        // Brings it up to date.
        Records::open_sqlite(source).await?.close().await;
        let options = SqliteConnectOptions::new().filename(source).busy_timeout(BUSY);
        let mut source = SqliteConnection::connect_with(&options).await?;
        // Nobody writes from now on, until this connection is closed.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut source).await.map_err(|error| match error {
            error if is_busy(&error) => MoveError::SourceInUse,
            error => error.into(),
        })?;
        let mut target = postgres::connect(target).await?;
        let (alone,): (bool,) =
            sqlx::query_as("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut target).await?;
        if !alone {
            return Err(MoveError::TargetInUse);
        }
        let tables = tables::of_both(&mut source, &mut target).await?;
        if !postgres::is_target_of_a_move(&mut target).await? {
            mark(&mut target, &tables).await?;
        }
        Ok(Self { source, target, tables })
    }

    /// Moves what was not moved yet. Bodies go to `blobs`. `progress` is told after each batch, which is safe by then.
    ///
    /// # Errors
    /// A [`MoveError`] if a database or the blob store fails. What was moved stays moved.
    pub async fn copy(&mut self, blobs: &Blobs, mut progress: impl FnMut(MoveProgress<'_>)) -> Result<(), MoveError> {
        for table in &self.tables {
            let (rows,): (i64,) = sqlx::query_as(AssertSqlSafe(format!("SELECT COUNT(*) FROM \"{}\"", table.name)))
                .fetch_one(&mut self.source)
                .await?;
            let (moved,): (i64,) = sqlx::query_as("SELECT moved FROM unfinished_move WHERE table_name = $1")
                .bind(&table.name)
                .fetch_one(&mut self.target)
                .await?;
            let (rows, mut moved) = (rows.unsigned_abs(), moved.unsigned_abs());
            progress(MoveProgress { table: &table.name, moved, rows });
            let select = table.select_from(moved);
            let mut stream = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.source);
            loop {
                let mut batch = Batch::default();
                while !batch.is_full()
                    && let Some(row) = stream.try_next().await?
                {
                    batch.push(table.cells_of_sqlite(&row)?);
                }
                if batch.rows.is_empty() {
                    break;
                }
                batch.write(table, &mut self.target, blobs).await?;
                moved += batch.rows.len() as u64;
                progress(MoveProgress { table: &table.name, moved, rows });
            }
        }
        Ok(())
    }

    /// Compares the rows of every table, and the content of all of their columns. Returns how many rows there are.
    ///
    /// # Errors
    /// [`MoveError::Differs`] where a table is not the same; a [`MoveError`] if a database fails.
    pub async fn verify(&mut self) -> Result<u64, MoveError> {
        let mut rows = 0;
        for table in &self.tables {
            rows += comparing::compare(table, &mut self.source, &mut self.target).await?;
        }
        Ok(rows)
    }

    /// Ends the move: from now on the target is an installation.
    ///
    /// # Errors
    /// [`MoveError::Records`] if a database fails.
    pub async fn finish(mut self) -> Result<(), MoveError> {
        let mut transaction = self.target.begin().await?;
        for table in &self.tables {
            table.go_on_counting(&mut self.source, &mut transaction).await?;
        }
        sqlx::query("DROP TABLE unfinished_move").execute(&mut *transaction).await?;
        sqlx::query("DROP TABLE unfinished_move_bodies").execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.target.close().await?;
        self.source.close().await?;
        Ok(())
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    // SQLITE_BUSY, and SQLITE_BUSY_SNAPSHOT.
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "5" || code == "517")
}

/// Marks a database without content as the target of a move.
async fn mark(target: &mut PgConnection, tables: &[Table]) -> Result<(), MoveError> {
    let mut transaction = target.begin().await?;
    for table in tables {
        let filled = format!("SELECT EXISTS (SELECT FROM \"{}\"{})", table.name, table.rows_that_are_content());
        let (filled,): (bool,) = sqlx::query_as(AssertSqlSafe(filled)).fetch_one(&mut *transaction).await?;
        if filled {
            return Err(MoveError::TargetNotEmpty { table: table.name.clone() });
        }
        // What a migration put there comes with the rest.
        sqlx::query(AssertSqlSafe(format!("DELETE FROM \"{}\"", table.name))).execute(&mut *transaction).await?;
    }
    sqlx::query("CREATE TABLE unfinished_move (table_name TEXT PRIMARY KEY, moved BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("CREATE TABLE unfinished_move_bodies (blob_id BIGINT PRIMARY KEY)").execute(&mut *transaction).await?;
    for table in tables {
        sqlx::query("INSERT INTO unfinished_move (table_name, moved) VALUES ($1, 0)")
            .bind(&table.name)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Rows that are moved together.
#[derive(Default)]
struct Batch {
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.bytes >= BYTES
    }

    fn push(&mut self, row: Vec<Cell>) {
        self.bytes += row.iter().map(Cell::len).sum::<usize>();
        self.rows.push(row);
    }

    /// Writes the rows and how far that is, in one transaction.
    async fn write(&mut self, table: &Table, target: &mut PgConnection, blobs: &Blobs) -> Result<(), MoveError> {
        let bodies = if table.name == "blobs" { self.move_bodies(table, blobs).await? } else { Vec::new() };
        let mut transaction = target.begin().await?;
        let insert = table.insert();
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for (index, column) in table.columns.iter().enumerate() {
            query = self.bind(query, index, column);
        }
        query.execute(&mut *transaction).await?;
        let moved: Vec<i64> = bodies.iter().map(|(id, _)| *id).collect();
        sqlx::query("INSERT INTO unfinished_move_bodies (blob_id) SELECT * FROM UNNEST($1)")
            .bind(moved)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE unfinished_move SET moved = moved + $1 WHERE table_name = $2")
            .bind(i64::try_from(self.rows.len()).unwrap_or(i64::MAX))
            .bind(&table.name)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        // Until here a file keeps its marker: if this process ends, the next start of a server removes what has no record.
        for (_, location) in &bodies {
            blobs.recorded(location).await;
        }
        Ok(())
    }

    /// One column of all rows, as an array.
    fn bind<'q>(
        &self,
        query: PgQuery<'q, sqlx::Postgres, PgArguments>,
        index: usize,
        column: &Column,
    ) -> PgQuery<'q, sqlx::Postgres, PgArguments> {
        let cells = self.rows.iter().map(|row| &row[index]);
        match column.kind {
            Kind::Integer => query.bind(cells.map(Cell::integer).collect::<Vec<_>>()),
            Kind::Text => query.bind(cells.map(Cell::text).collect::<Vec<_>>()),
            Kind::Bytes => query.bind(cells.map(Cell::bytes).collect::<Vec<_>>()),
        }
    }

    /// Puts the bodies of these blobs into the blob store. Those of no length stay where they are, as new ones do.
    async fn move_bodies(&mut self, table: &Table, blobs: &Blobs) -> Result<Vec<(i64, Location)>, MoveError> {
        let [id, location, body] = ["id", "location", "body"].map(|name| table.index_of(name));
        let mut moved = Vec::new();
        for row in &mut self.rows {
            let Some(bytes) = row[body].bytes().filter(|bytes| !bytes.is_empty()) else { continue };
            let mut incoming = blobs.receive().await?;
            incoming.write(Bytes::from(bytes)).await?;
            let published = blobs.publish(incoming.finish().await?).await?;
            row[location] = Cell::Text(Some(published.as_str().to_owned()));
            row[body] = Cell::Bytes(None);
            moved.push((row[id].integer().unwrap_or_default(), published));
        }
        Ok(moved)
    }
}
