//! The writing of PostgreSQL: each statement is a serializable transaction, repeated where it met another one.
//!
//! What a [`Statement`] decides by reading holds on SQLite because nobody else writes meanwhile. Serializable transactions
//! promise the same on PostgreSQL: where two would not give what one after the other would have given, one of them is
//! refused and is run again. So each statement is written once, and means the same on both.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};
use tokio_util::task::TaskTracker;

use super::{
    RecordsError,
    sql::{Connection, acquire, query},
    writer::Statement,
};

/// Connections of one node.
const CONNECTIONS: u32 = 16;

/// How long one is waited for, and a new one may take.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a statement is run that meets others each time.
const ATTEMPTS: u32 = 50;

/// How long it waits before it is run again: at first, and at most.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// SQLSTATE: it could not be as if one had come after the other, or each waits for the other.
const MET_ANOTHER: [&str; 2] = ["40001", "40P01"];

/// Connects, and applies the migrations. Of several nodes that start together one does it, and the others wait.
pub(super) async fn open(url: &str) -> Result<PgPool, RecordsError> {
    let options = PgConnectOptions::from_str(url)?.application_name("tintype");
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await?;
    sqlx::migrate!("./migrations/postgres").run(&pool).await?;
    Ok(pool)
}

/// Writes, each in a transaction.
#[derive(Debug, Clone)]
pub(super) struct Transactions {
    pool: PgPool,
    runtime: Handle,
    under_way: TaskTracker,
}

impl Transactions {
    pub(super) fn new(pool: PgPool, runtime: Handle) -> Self {
        Self { pool, runtime, under_way: TaskTracker::new() }
    }

    /// Runs the statement and returns when it is committed. It is run to its end even if nobody waits for it.
    pub(super) async fn run<S: Statement>(&self, statement: S) -> Result<S::Output, RecordsError> {
        if self.under_way.is_closed() {
            return Err(RecordsError::Closed);
        }
        let (pool, runtime) = (self.pool.clone(), self.runtime.clone());
        let task = async move { repeated(&pool, &runtime, &statement).await };
        let running: JoinHandle<_> = self.under_way.spawn_on(task, &self.runtime);
        running.await.map_err(|_| RecordsError::Closed)?
    }

    /// Waits for what is under way; nothing is begun any more.
    pub(super) async fn close(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }
}

async fn repeated<S: Statement>(pool: &PgPool, runtime: &Handle, statement: &S) -> Result<S::Output, RecordsError> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match transaction(pool, runtime, statement).await {
            Err(error) if met_another(&error) => {
                tracing::debug!(%error, "a transaction met another one; it is run again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
    transaction(pool, runtime, statement).await
}

async fn transaction<S: Statement>(pool: &PgPool, runtime: &Handle, statement: &S) -> Result<S::Output, RecordsError> {
    let mut connection = Connection::Postgres(acquire(pool, runtime).await?);
    query("BEGIN ISOLATION LEVEL SERIALIZABLE").execute(&mut connection).await?;
    let outcome = match statement.run(&mut connection).await {
        Ok(output) => query("COMMIT").execute(&mut connection).await.map(|_| output).map_err(RecordsError::from),
        Err(error) => Err(error),
    };
    if outcome.is_err()
        && let Err(error) = query("ROLLBACK").execute(&mut connection).await
    {
        tracing::debug!(%error, "nothing was left to roll back");
    }
    outcome
}

fn met_another(error: &RecordsError) -> bool {
    let RecordsError::Database(error) = error else { return false };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| MET_ANOTHER.contains(&&*code))
}
