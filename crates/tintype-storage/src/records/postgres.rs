//! The writing of PostgreSQL: each statement is a serializable transaction, repeated where it met another one.
//!
//! What a [`Statement`] decides by reading holds on SQLite because nobody else writes meanwhile. Serializable transactions
//! promise the same on PostgreSQL: where two would not give what one after the other would have given, one of them is
//! refused and is run again. So each statement is written once, and means the same on both.
//!
//! A connection may die at any time. Up to its `COMMIT` a transaction that was cut has done nothing and is run again on a
//! connection that answers. From then on nobody can tell: it is not run again, since it would be done twice, and the caller
//! hears [`RecordsError::OutcomeUnknown`].

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    num::NonZeroU32,
    str::FromStr as _,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    RecordsError,
    sql::{Connection, acquire, acquire_alive, query},
    writer::Statement,
};

/// Connections of one node, unless it is said otherwise.
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(16).expect("it is more than none");

/// How long a connection is waited for, and a new one may take: a restart of the database is mostly shorter.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was used a moment ago is not asked whether it is alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// What the database itself gives up after: a statement, the wait for a lock, a transaction whose client is silent.
const SERVER_TIMEOUTS: [(&str, &str); 3] =
    [("statement_timeout", "20s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")];

/// How long an answer may take. Longer than the database itself allows: then it is the way to it that is cut.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// How long the answer to a ping may take.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a statement is run that meets others each time.
const ATTEMPTS: u32 = 50;

/// How often it is run again because its connection died.
const DEATHS: u32 = 2;

/// How long it waits before it is run again: at first, and at most.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// SQLSTATE: it could not be as if one had come after the other, or each waits for the other.
const MET_ANOTHER: [&str; 2] = ["40001", "40P01"];

/// SQLSTATE: the disk is full.
pub(super) const DISK_FULL: &str = "53100";

/// SQLSTATE: the connection is gone, or goes with the server.
const GONE: [&str; 3] = ["57P01", "57P02", "57P03"];

/// SQLSTATE: nothing is wrong with the statement, but it cannot be now. Too many connections; no memory; a standby that is not
/// promoted yet; a statement or a lock that took too long.
const NOT_NOW: [&str; 5] = ["53300", "53200", "25006", "57014", "55P03"];

/// SQLSTATE: statement completion unknown.
const COMPLETION_UNKNOWN: &str = "40003";

/// A PostgreSQL database, and how it is connected to.
#[derive(Clone)]
pub struct PostgresDatabase {
    /// `postgres://user@host/database`, with the parameters of libpq. It may hold the password.
    pub url: String,
    /// The password, if it is not in the URL.
    pub password: Option<String>,
    /// How many connections are open at most.
    pub max_connections: NonZeroU32,
}

impl std::fmt::Debug for PostgresDatabase {
    /// Without the URL, which may hold the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresDatabase")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl From<&str> for PostgresDatabase {
    fn from(url: &str) -> Self {
        Self { url: url.to_owned(), password: None, max_connections: CONNECTIONS }
    }
}

impl From<&String> for PostgresDatabase {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

impl From<String> for PostgresDatabase {
    fn from(url: String) -> Self {
        url.as_str().into()
    }
}

impl PostgresDatabase {
    pub(super) fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let options = PgConnectOptions::from_str(&self.url)?.application_name("tintype");
        // What is slow is known by the requests that wait for it. Statements are not logged: they tell who did what.
        let options = options.disable_statement_logging();
        Ok(match &self.password {
            Some(password) => options.password(password),
            None => options,
        })
    }
}

/// A connection of its own, to a database that is up to date. It is without limits: a migration takes as long as it takes.
/// It also tells at once why there is no connection, where the pool would try until its time is over.
pub(super) async fn connect(database: &PostgresDatabase) -> Result<PgConnection, RecordsError> {
    let options = database.options()?;
    let connecting = timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options));
    let mut connection = connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    // Of several nodes that start together one migrates, and the others wait. Nodes of an older version may run beside newer
    // ones, and start again: what migrations add does not disturb them.
    sqlx::migrate!("./migrations/postgres").set_ignore_missing(true).run(&mut connection).await?;
    Ok(connection)
}

/// Whether an installation is being moved here, and is not here yet (see `moving`).
pub(super) async fn is_target_of_a_move(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (moving,): (bool,) =
        sqlx::query_as("SELECT to_regclass('unfinished_move') IS NOT NULL").fetch_one(connection).await?;
    Ok(moving)
}

/// Connects, and applies the migrations.
pub(super) async fn open(database: PostgresDatabase) -> Result<PgPool, RecordsError> {
    let mut connection = connect(&database).await?;
    if is_target_of_a_move(&mut connection).await? {
        return Err(RecordsError::UnfinishedMove);
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection did not close in good order");
    }
    let options = database.options()?;
    Ok(PgPoolOptions::new()
        .max_connections(database.max_connections.get())
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED_FOR {
                    return Ok(matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))));
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.options(SERVER_TIMEOUTS)))
}

/// Writes, each in a transaction.
#[derive(Debug, Clone)]
pub(super) struct Transactions {
    pool: PgPool,
    runtime: Handle,
    under_way: TaskTracker,
    unknown: watch::Sender<()>,
}

impl Transactions {
    pub(super) fn new(pool: PgPool, runtime: Handle) -> Self {
        Self { pool, runtime, under_way: TaskTracker::new(), unknown: watch::Sender::default() }
    }

    /// Changes each time that it is not known whether a transaction was committed.
    pub(super) fn unknown_outcomes(&self) -> watch::Receiver<()> {
        self.unknown.subscribe()
    }

    /// Runs the statement and returns when it is committed. It is run to its end even if nobody waits for it.
    pub(super) async fn run<S: Statement>(&self, statement: S) -> Result<S::Output, RecordsError> {
        if self.under_way.is_closed() {
            return Err(RecordsError::Closed);
        }
        let (pool, runtime, unknown) = (self.pool.clone(), self.runtime.clone(), self.unknown.clone());
        let task = async move {
            let outcome = repeated(&pool, &runtime, &statement).await;
            if matches!(outcome, Err(RecordsError::OutcomeUnknown(_))) {
                unknown.send_replace(());
            }
            outcome
        };
        let running: JoinHandle<_> = self.under_way.spawn_on(task, &self.runtime);
        running.await.map_err(|_| RecordsError::Closed)?
    }

    /// Waits for what is under way; nothing is begun any more.
    pub(super) async fn close(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }
}

/// A transaction that was not committed, and why.
enum Cut {
    /// It met another one, and changed nothing.
    Met(sqlx::Error),
    /// Its connection died, and it changed nothing.
    Died(sqlx::Error),
    /// There is no use in another attempt.
    Failed(RecordsError),
}

impl From<RecordsError> for Cut {
    /// Of an error before the commit.
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Database(error) if met_another(&error) => Self::Met(error),
            RecordsError::Unavailable(error) if is_dead(&error) => Self::Died(error),
            error => Self::Failed(error),
        }
    }
}

impl From<sqlx::Error> for Cut {
    fn from(error: sqlx::Error) -> Self {
        RecordsError::from(error).into()
    }
}

async fn repeated<S: Statement>(pool: &PgPool, runtime: &Handle, statement: &S) -> Result<S::Output, RecordsError> {
    let (mut pause, mut met, mut died) = (PAUSE, 0, 0);
    let jitter = RandomState::new();
    loop {
        // A connection at hand is believed in once; after that it has to answer first.
        let connection = if died == 0 { acquire(pool, runtime).await } else { acquire_alive(pool, runtime).await };
        let error = match transaction(Connection::Postgres(connection?), statement).await {
            Ok(output) => return Ok(output),
            Err(Cut::Failed(error)) => return Err(error),
            Err(Cut::Died(error)) => {
                died += 1;
                if died > DEATHS {
                    return Err(RecordsError::Unavailable(error));
                }
                error
            }
            Err(Cut::Met(error)) => {
                met += 1;
                if met == ATTEMPTS {
                    return Err(RecordsError::Unavailable(error));
                }
                // Those who met do not meet again at the same time.
                let mut random = jitter.build_hasher();
                random.write_u32(met);
                // Between half of it and one and a half.
                let part = u32::try_from(random.finish() % 1024).unwrap_or_default();
                sleep(pause / 2 + pause * part / 1024).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                error
            }
        };
        tracing::debug!(%error, "a transaction was cut before its commit; it is run again");
    }
}

/// A connection in the middle of something. It leaves the pool with what it was in the middle of, unless that came to its
/// end.
struct Busy {
    connection: Connection,
    is_over: bool,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if !self.is_over {
            self.connection.close_on_drop();
        }
    }
}

async fn transaction<S: Statement>(connection: Connection, statement: &S) -> Result<S::Output, Cut> {
    let mut busy = Busy { connection, is_over: false };
    let connection = &mut busy.connection;
    query("BEGIN ISOLATION LEVEL SERIALIZABLE").execute(&mut *connection).await?;
    let output = match statement.run(&mut *connection).await {
        Ok(output) => output,
        Err(error) => {
            busy.is_over = query("ROLLBACK").execute(&mut *connection).await.is_ok();
            return Err(error.into());
        }
    };
    match query("COMMIT").execute(connection).await {
        Ok(_) => {
            busy.is_over = true;
            Ok(output)
        }
        // The database says that it refused; after that no transaction is open.
        Err(error) if met_another(&error) => {
            busy.is_over = true;
            Err(Cut::Met(error))
        }
        Err(error) if is_refusal(&error) => Err(Cut::Failed(error.into())),
        Err(error) => Err(Cut::Failed(RecordsError::OutcomeUnknown(error))),
    }
}

fn code_of(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code)
}

fn met_another(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| MET_ANOTHER.contains(&&*code))
}

/// Whether the connection cannot be used any more, or never could be.
pub(super) fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // Class 08: connection exception.
        error => code_of(error).is_some_and(|code| code.starts_with("08") || GONE.contains(&&*code)),
    }
}

/// Whether it is the database that cannot be had, and not the statement that is wrong.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    is_dead(error)
        || matches!(error, sqlx::Error::PoolTimedOut)
        || code_of(error).is_some_and(|code| NOT_NOW.contains(&&*code))
}

/// Whether it is certain that what was to be committed was not.
fn is_refusal(error: &sqlx::Error) -> bool {
    !is_dead(error) && code_of(error).is_some_and(|code| code != COMPLETION_UNKNOWN)
}
