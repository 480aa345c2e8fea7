//! The writing of SQLite: one connection that writes, for everybody.
//!
//! SQLite allows one writer at a time, and a commit costs a sync of the disk. So all writes go to one task, which takes
//! whatever has gathered while the last commit was under way and commits it together: under load one sync
//! serves many uploads, and no caller ever sees "database is locked". If one statement fails, the batch is rolled back
//! and each of its statements is tried alone, so that a failure stays with its own caller.

use std::{future::Future, pin::Pin, sync::Arc};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    RecordsError,
    sql::{Connection, query},
};

/// Statements committed together at most: bounds what a batch holds in memory and how long its first one waits.
const MAX_BATCH: usize = 256;

/// Statements that may wait for the writer; more of them make their callers wait.
const QUEUE: usize = 1024;

/// A write: one or more SQL statements that take effect together or not at all.
///
/// `run` may be called twice (alone, after its batch failed) and must not have effects outside the database.
pub(super) trait Statement: Send + Sync + 'static {
    /// What the caller learns.
    type Output: Send + 'static;

    fn run(&self, connection: &mut Connection) -> impl Future<Output = Result<Self::Output, RecordsError>> + Send;
}

/// The handle to the writing task.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum Message {
    Write(Box<dyn Pending>),
    /// Move what was written into the database's file, and empty the log of writes.
    Checkpoint(oneshot::Sender<Result<bool, RecordsError>>),
    /// Commit what came before, and stop.
    Close,
}

impl Writer {
    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self, RecordsError> {
        let mut connection = SqliteConnection::connect_with(options).await?;
        sqlx::migrate!("./migrations/sqlite").run(&mut connection).await?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let task = tokio::spawn(write_batches(Connection::Sqlite(connection), waiting));
        Ok(Self { queue, task: Arc::new(Mutex::new(Some(task))) })
    }

    /// Runs the statement and returns when it is committed and synced.
    pub(super) async fn submit<S: Statement>(&self, statement: S) -> Result<S::Output, RecordsError> {
        let (answer, answered) = oneshot::channel();
        let pending = Box::new(Submitted { statement, output: None, answer });
        self.queue.send(Message::Write(pending)).await.map_err(|_| RecordsError::Closed)?;
        answered.await.map_err(|_| RecordsError::Closed)?
    }

    /// Moves all that was committed into the database's file and empties the write-ahead log, so that nothing that was
    /// deleted lies there any more. Returns whether it could: not while somebody reads an older state.
    pub(super) async fn checkpoint(&self) -> Result<bool, RecordsError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Message::Checkpoint(answer)).await.map_err(|_| RecordsError::Closed)?;
        answered.await.map_err(|_| RecordsError::Closed)?
    }

    /// Commits what is queued, and closes the connection.
    pub(super) async fn close(&self) {
        let _ = self.queue.send(Message::Close).await;
        if let Some(task) = self.task.lock().await.take() {
            let _ = task.await;
        }
    }
}

type Applied<'a> = Pin<Box<dyn Future<Output = Result<(), RecordsError>> + Send + 'a>>;

/// A submitted statement whose type is forgotten, so that one queue can hold all.
trait Pending: Send {
    fn apply<'a>(&'a mut self, connection: &'a mut Connection) -> Applied<'a>;
    fn answer(self: Box<Self>, outcome: Result<(), RecordsError>);
}

struct Submitted<S: Statement> {
    statement: S,
    output: Option<S::Output>,
    answer: oneshot::Sender<Result<S::Output, RecordsError>>,
}

impl<S: Statement> Pending for Submitted<S> {
    fn apply<'a>(&'a mut self, connection: &'a mut Connection) -> Applied<'a> {
        Box::pin(async move {
            self.output = Some(self.statement.run(connection).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<(), RecordsError>) {
        let Submitted { output, answer, .. } = *self;
        // The asker may have gone; what it asked for is committed all the same.
        let _ = answer.send(outcome.and_then(|()| output.ok_or(RecordsError::Closed)));
    }
}

async fn write_batches(mut connection: Connection, mut queue: mpsc::Receiver<Message>) {
    let mut batch: Vec<Box<dyn Pending>> = Vec::with_capacity(MAX_BATCH);
    let mut closing = false;
    while !closing {
        let mut checkpoint = None;
        match queue.recv().await {
            Some(Message::Write(first)) => batch.push(first),
            Some(Message::Checkpoint(answer)) => checkpoint = Some(answer),
            Some(Message::Close) | None => break,
        }
        while checkpoint.is_none() && batch.len() < MAX_BATCH {
            match queue.try_recv() {
                Ok(Message::Write(next)) => batch.push(next),
                Ok(Message::Checkpoint(answer)) => checkpoint = Some(answer),
                Ok(Message::Close) => {
                    closing = true;
                    break;
                }
                Err(_) => break,
            }
        }
        if !batch.is_empty() {
            commit(&mut connection, &mut batch).await;
        }
        if let Some(answer) = checkpoint {
            let _ = answer.send(empty_log(&mut connection).await);
        }
    }
    if let Connection::Sqlite(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the database did not close cleanly");
    }
}

async fn empty_log(connection: &mut Connection) -> Result<bool, RecordsError> {
    let Connection::Sqlite(connection) = connection else { return Ok(true) };
    // Everybody who writes waits behind this: it is rather tried again than waited for.
    sqlx::query("PRAGMA busy_timeout = 100").execute(&mut *connection).await?;
    let emptied = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
    let waits = i64::try_from(super::BUSY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {waits}"))).execute(&mut *connection).await?;
    let (busy, ..): (i64, i64, i64) = emptied?;
    Ok(busy == 0)
}

/// Commits the batch together; if that fails, each statement alone. Every statement is answered.
async fn commit(connection: &mut Connection, batch: &mut Vec<Box<dyn Pending>>) {
    match transaction(connection, batch).await {
        Ok(()) => batch.drain(..).for_each(|pending| pending.answer(Ok(()))),
        Err(error) if batch.len() == 1 => {
            if let Some(only) = batch.pop() {
                only.answer(Err(error));
            }
        }
        Err(error) => {
            tracing::debug!(%error, statements = batch.len(), "a batch failed; its statements are tried one by one");
            for mut pending in batch.drain(..) {
                let outcome = transaction(connection, std::slice::from_mut(&mut pending)).await;
                pending.answer(outcome);
            }
        }
    }
}

/// Commits the statements together, or none of them.
///
/// In plain SQL, not as a `sqlx::Transaction`: when the disk is full SQLite may have rolled back by itself, and sqlx would
/// then take the transaction for open ever after and refuse to begin another.
async fn transaction(connection: &mut Connection, statements: &mut [Box<dyn Pending>]) -> Result<(), RecordsError> {
    query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let outcome = apply_and_commit(connection, statements).await;
    if outcome.is_err()
        && let Err(error) = query("ROLLBACK").execute(connection).await
    {
        tracing::debug!(%error, "nothing was left to roll back");
    }
    outcome
}

async fn apply_and_commit(
    connection: &mut Connection,
    statements: &mut [Box<dyn Pending>],
) -> Result<(), RecordsError> {
    for pending in statements {
        pending.apply(connection).await?;
    }
    query("COMMIT").execute(connection).await?;
    Ok(())
}
