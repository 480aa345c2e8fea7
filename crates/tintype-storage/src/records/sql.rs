//! One way to say SQL to both engines.
//!
//! A statement is written once, in the dialect that SQLite and PostgreSQL share (`$1`, `ON CONFLICT`, `RETURNING`,
//! integers for time and for yes and no; what is asked for as yes or no
//! is a comparison, which both give as a boolean), with its values beside it; which engine runs it is decided by the
//! [`Connection`] or the [`Readers`] that it is given to. Rows are read by column type, which both engines agree on.
//! Where a text has to differ, [`Connection::engine`] tells which one is meant.

use std::{borrow::Cow, io, time::Duration};

use sqlx::{
    Connection as _, FromRow, PgPool, Postgres, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    postgres::{PgConnection, PgRow},
    sqlite::SqliteRow,
};
use tokio::{runtime::Handle, time::timeout};

use super::postgres::{ANSWER_TIMEOUT, PING_TIMEOUT, is_dead};

/// Whose dialect is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL 15 or later.
    Postgres,
}

/// A connection in a transaction that writes.
#[derive(Debug)]
pub(super) enum Connection {
    /// The one that writes.
    Sqlite(SqliteConnection),
    /// One of many.
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Whose dialect it speaks.
    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// It does not go back to where it came from: nobody knows what state it is in.
    pub(super) fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(connection) => connection.close_on_drop(),
        }
    }
}

/// Connections that read.
#[derive(Debug, Clone)]
pub(super) enum Readers {
    /// A few, opened read-only.
    Sqlite(SqlitePool),
    /// The pool, and the runtime that its connections live on: that of a client's connection may end before them.
    Postgres(PgPool, Handle),
}

impl Readers {
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool, _) => pool.close().await,
        }
    }
}

/// A connection of the pool, opened on `runtime` if there is none.
pub(super) async fn acquire(pool: &PgPool, runtime: &Handle) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    if let Some(connection) = pool.try_acquire() {
        return Ok(connection);
    }
    let pool = pool.clone();
    let acquired = runtime.spawn(async move { pool.acquire().await }).await;
    acquired.unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// A connection that has just answered: for whoever met a dead one.
pub(super) async fn acquire_alive(pool: &PgPool, runtime: &Handle) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let acquired = runtime.spawn(async move {
        loop {
            let mut connection = pool.acquire().await?;
            match in_time(PING_TIMEOUT, connection.ping()).await {
                Ok(()) => return Ok(connection),
                Err(error) => tracing::debug!(%error, "a connection to the database was dead"),
            }
            connection.close_on_drop();
        }
    });
    acquired.await.unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// The answer to a statement.
async fn answered<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    in_time(ANSWER_TIMEOUT, answer).await
}

/// What comes in time; else the way to the database is taken for cut.
async fn in_time<T>(time: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time")));
    timeout(time, answer).await.unwrap_or_else(late)
}

/// Where a statement is run.
pub(super) enum Place<'c> {
    Sqlite(&'c mut SqliteConnection),
    SqliteReaders(&'c SqlitePool),
    Postgres(&'c mut PgConnection),
    PostgresReaders(&'c PgPool, &'c Handle),
}

impl<'c> From<&'c mut Connection> for Place<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        match connection {
            Connection::Sqlite(connection) => Self::Sqlite(connection),
            Connection::Postgres(connection) => Self::Postgres(connection),
        }
    }
}

impl<'c> From<&'c Readers> for Place<'c> {
    fn from(readers: &'c Readers) -> Self {
        match readers {
            Readers::Sqlite(pool) => Self::SqliteReaders(pool),
            Readers::Postgres(pool, runtime) => Self::PostgresReaders(pool, runtime),
        }
    }
}

/// A value beside a statement. Each kind has one type in each engine, also where there is no value.
#[derive(Debug, Clone)]
pub(super) enum Value<'q> {
    Integer(Option<i64>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
}

/// From each Rust type that is bound somewhere.
macro_rules! values {
    ($($type:ty => $variant:ident($value:ident => $converted:expr)),* $(,)?) => {$(
        impl<'q> From<$type> for Value<'q> {
            fn from($value: $type) -> Self {
                Self::$variant(Some($converted))
            }
        }

        impl<'q> From<Option<$type>> for Value<'q> {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $converted))
            }
        }
    )*};
}

values! {
    i64 => Integer(value => value),
    u32 => Integer(value => value.into()),
    bool => Integer(value => value.into()),
    &'q str => Text(value => Cow::Borrowed(value)),
    &'q String => Text(value => Cow::Borrowed(value.as_str())),
    String => Text(value => Cow::Owned(value)),
    &'q [u8] => Bytes(value => Cow::Borrowed(value)),
    &'q Vec<u8> => Bytes(value => Cow::Borrowed(value.as_slice())),
    Vec<u8> => Bytes(value => Cow::Owned(value)),
}

/// A row that both engines can give.
pub(super) trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

/// What a statement did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executed {
    rows: u64,
}

impl Executed {
    /// How many rows it changed.
    pub(super) fn rows_affected(self) -> u64 {
        self.rows
    }
}

/// A statement and its values.
#[must_use = "a statement does nothing until it is run"]
pub(super) struct Query<'q> {
    sql: &'static str,
    values: Vec<Value<'q>>,
}

/// A statement without rows, or whose rows nobody reads.
pub(super) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query { sql, values: Vec::new() }
}

/// A statement that gives rows.
pub(super) fn query_as<'q>(sql: &'static str) -> Query<'q> {
    query(sql)
}

/// PostgreSQL has no NUL in a text, and refuses it: what has one is kept, and looked for, with U+FFFD in its place. Nothing
/// that Matrix gives a meaning to has a NUL in it.
fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { text }
}

/// Gives the values to one of sqlx's queries, of either engine.
macro_rules! bound {
    ($query:expr, $values:expr) => {
        bound!($query, $values, |text| text)
    };
    ($query:expr, $values:expr, $text:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value.map($text)),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

/// Runs the statement as sqlx's `$query` does, on the engine of the place. One that only reads is repeated where the
/// connection turns out to be dead.
macro_rules! run {
    ($statement:expr, $place:expr, $query:path, $method:ident) => {{
        let Query { sql, values } = $statement;
        match $place {
            Place::Sqlite(connection) => bound!($query(sql), values).$method(connection).await,
            Place::SqliteReaders(pool) => bound!($query(sql), values).$method(pool).await,
            Place::Postgres(connection) => answered(bound!($query(sql), values, without_nul).$method(connection)).await,
            Place::PostgresReaders(pool, runtime) => {
                let mut connection = acquire(pool, runtime).await?;
                let read = answered(bound!($query(sql), values.clone(), without_nul).$method(&mut *connection)).await;
                match read {
                    Err(error) if is_dead(&error) => {
                        tracing::debug!(%error, "a connection to the database was dead; the question is repeated");
                        connection.close_on_drop();
                        drop(connection);
                        let mut connection = acquire_alive(pool, runtime).await?;
                        answered(bound!($query(sql), values, without_nul).$method(&mut *connection)).await
                    }
                    read => read,
                }
            }
        }
    }};
}

impl<'q> Query<'q> {
    /// The next value.
    pub(super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it; what it gives is not read. It is not repeated, since it may write.
    pub(super) async fn execute(self, place: impl Into<Place<'_>>) -> Result<Executed, sqlx::Error> {
        let Query { sql, values } = self;
        let rows = match place.into() {
            Place::Sqlite(connection) => bound!(sqlx::query(sql), values).execute(connection).await?.rows_affected(),
            Place::SqliteReaders(pool) => bound!(sqlx::query(sql), values).execute(pool).await?.rows_affected(),
            Place::Postgres(connection) => {
                answered(bound!(sqlx::query(sql), values, without_nul).execute(connection)).await?.rows_affected()
            }
            Place::PostgresReaders(pool, runtime) => {
                let mut connection = acquire(pool, runtime).await?;
                let executed = answered(bound!(sqlx::query(sql), values, without_nul).execute(&mut *connection)).await;
                if executed.as_ref().is_err_and(is_dead) {
                    connection.close_on_drop();
                }
                executed?.rows_affected()
            }
        };
        Ok(Executed { rows })
    }

    /// Its one row.
    pub(super) async fn fetch_one<T: Row>(self, place: impl Into<Place<'_>>) -> Result<T, sqlx::Error> {
        run!(self, place.into(), sqlx::query_as, fetch_one)
    }

    /// Its row, if there is one.
    pub(super) async fn fetch_optional<T: Row>(self, place: impl Into<Place<'_>>) -> Result<Option<T>, sqlx::Error> {
        run!(self, place.into(), sqlx::query_as, fetch_optional)
    }

    /// All of its rows.
    pub(super) async fn fetch_all<T: Row>(self, place: impl Into<Place<'_>>) -> Result<Vec<T>, sqlx::Error> {
        run!(self, place.into(), sqlx::query_as, fetch_all)
    }
}
