//! The records: what media exists, whose it is, and where its bytes are.
//!
//! [`Records`] is the interface; SQLite or PostgreSQL stands behind it. Each SQL statement is written in the dialect that
//! the two share (see `sql`). With SQLite reads go to a pool of connections, writes to one writer that commits many of them
//! together (see `writer`), so that no caller ever meets a lock. With PostgreSQL each write is a serializable transaction
//! of its own (see `postgres`), so that both engines give one meaning to what is written.

mod appservice;
mod attachments;
mod copies;
mod damages;
mod deletions;
mod departures;
mod erasures;
mod kept;
mod leases;
mod linked;
mod media;
mod media_requests;
mod moving;
mod naming;
mod nodes;
mod partials;
mod postgres;
mod redactions;
mod remote;
mod removals;
mod reservations;
mod room_changes;
mod room_states;
mod rooms;
mod settings;
mod sql;
mod stream_event;
#[cfg(test)]
mod testing;
mod thumbnails;
mod tokens;
mod transfers;
mod unattached;
mod usage;
mod words;
mod writer;

use std::{fs::File, io, path::Path, time::Duration};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::{runtime::Handle, sync::watch};

pub use self::{
    appservice::{Applied, ApplyTransaction, TransactionOutcome},
    attachments::{
        ANSWERS_RETRIES, AttachmentOutcome, AttachmentTarget, Attempt, BeginAttachment, BeginOutcome,
        ConcludeAttachment, Concluded, EndUnresolved, EndedAttachment, UnresolvedRoom, VisibilityQuestion,
        hash_of_content,
    },
    copies::{CopyMedia, CopyOutcome},
    damages::{Damage, Damaged, DamagedBlob, NoteDamage},
    deletions::{DeleteMedia, DeleteOutcome, Deleter, RemoveOutcome},
    departures::OfAbandonedRooms,
    erasures::Erasure,
    kept::{KeptBlob, KeptBlobs},
    leases::LeaseOutcome,
    linked::{Link, LinkedEvent},
    media::{Body, FoundMedia, InsertMedia, InsertOutcome, MediaRecord, NewAudience, NewBlob, NewLifetime},
    media_requests::{MediaAge, MediaEndpoint, MediaRequestOutcome, MediaRequests},
    moving::{Move, MoveError, MoveProgress},
    naming::{Naming, Unnamed, UnnamedFate},
    nodes::{DEAD_AFTER, NodeId, NodeRecord, RegisterNode, RegisterOutcome},
    postgres::PostgresDatabase,
    redactions::{PendingRedaction, RedactedEvent, RedactionTry, Removed},
    remote::{EvictRemote, Evicted, InsertRemote, RemoteKey, RemoteResponse, RemoteSource, RemoteUsage},
    reservations::{
        Claim, ClaimOutcome, ClaimPartial, Expired, Fulfil, InsertReservation, MediaKind, Partial, Release,
        ReleaseOutcome, ReleasePartial, Reservation, ReserveOutcome,
    },
    room_states::{ApplyState, StateOutcome},
    rooms::{Interval, Member, Membership, Presence, RoomCounts, RoomToRead},
    settings::Note,
    stream_event::{MalformedEvent, StreamEvent, StrippedState},
    thumbnails::{
        FoundThumbnail, InsertThumbnail, ThumbnailContent, ThumbnailKey, ThumbnailMethod, ThumbnailOutcome,
        ThumbnailRecord,
    },
    tokens::TokenRecord,
    transfers::Basis,
    unattached::Unattached,
    usage::{Quota, Usage},
    words::{Ear, LONGEST_TOLD},
};
use self::{
    nodes::Nodes,
    postgres::Transactions,
    sql::{Readers, query_as},
    writer::{Statement, Writer},
};

/// Connections that read. Reads are short; more of them would only compete for the same pages.
const READERS: u32 = 4;

/// How long a connection waits for another process (`tintype token`) that holds the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The disk, or the folder's quota, is full.
    #[error("the disk that holds the database is full")]
    DiskFull,
    /// The migrations could not be applied.
    #[error("the database could not be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database does not answer, or answered with an error.
    #[error("the database failed: {0}")]
    Database(#[source] sqlx::Error),
    /// The database cannot be reached, or has no time for us. Nothing was written; it may answer a moment later.
    #[error("the database is away: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database went away while it committed. What was to be written may be there, or not.
    #[error("the database went away during a commit, of which it is not known whether it took effect: {0}")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// An installation is being moved into this database, and is not here yet.
    #[error(
        "an installation is being moved here and is not complete: run `tintype migrate` with the same --from and --to again"
    )]
    UnfinishedMove,
    /// A row holds what this program would never write.
    #[error("the database holds an inconsistent row: {0}")]
    Inconsistent(String),
    /// The server is shutting down.
    #[error("the database is closed")]
    Closed,
    /// This node was declared dead, and is to enter anew. Nothing was written.
    #[error("this node was taken for dead, and is about to enter anew")]
    TakenForDead,
    /// It is SQLite, which one node has for itself.
    #[error("this database has no nodes: it is one server's own")]
    NoNodes,
}

impl From<sqlx::Error> for RecordsError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_FULL, and SQLITE_IOERR_WRITE/_SHMSIZE, which is how ENOSPC shows on the WAL and its index.
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some("13" | "778" | "4874" | postgres::DISK_FULL) => Self::DiskFull,
            _ => match error {
                sqlx::Error::PoolClosed => Self::Closed,
                error if postgres::is_away(&error) => Self::Unavailable(error),
                error => Self::Database(error),
            },
        }
    }
}

/// The records of one installation.
#[derive(Debug, Clone)]
pub struct Records {
    readers: Readers,
    writing: Writing,
    /// Where several nodes can share the database.
    nodes: Option<Nodes>,
}

/// How it is written.
#[derive(Debug, Clone)]
enum Writing {
    /// By one connection, for everybody.
    Sqlite(Writer),
    /// By any connection of the pool.
    Postgres(Transactions),
}

/// Waits until no other process migrates a database of this folder, and keeps others from it until it is dropped.
///
/// SQLite's own locks are taken for each migration anew, so that of two processes that start on an empty folder, a server
/// and `tintype token`, both would apply the first one. The lock is the folder's: opening and closing the database's file
/// beside SQLite would drop the locks that SQLite holds on it.
async fn alone_in_folder_of(path: &Path) -> Result<File, RecordsError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let folder = File::open(folder)?;
        folder.lock()?;
        Ok::<_, io::Error>(folder)
    });
    let locked = locked.await.map_err(io::Error::other).flatten();
    locked.map_err(|error| RecordsError::Database(sqlx::Error::Io(error)))
}

impl Records {
    /// Opens the SQLite database at `path`, creates it if there is none, and applies the migrations.
    ///
    /// # Errors
    /// [`RecordsError`] if the file cannot be opened or a migration fails.
    pub async fn open_sqlite(path: &Path) -> Result<Self, RecordsError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit returns when the write-ahead log is on stable storage: an acknowledged upload survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // What was deleted is overwritten: small bodies live in this file.
            .pragma("secure_delete", "ON");
        let alone = alone_in_folder_of(path).await?;
        let writer = Writer::open(&options).await?;
        drop(alone);
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { readers: Readers::Sqlite(readers), writing: Writing::Sqlite(writer), nodes: None })
    }

    /// Opens a PostgreSQL database, and applies the migrations.
    ///
    /// Its connections live on the runtime that this is called on.
    ///
    /// # Errors
    /// [`RecordsError`] if it cannot be reached or a migration fails.
    pub async fn open_postgres(database: impl Into<PostgresDatabase>) -> Result<Self, RecordsError> {
        let pool = postgres::open(database.into()).await?;
        let runtime = Handle::current();
        let transactions = Transactions::new(pool.clone(), runtime.clone());
        let nodes = Some(Nodes::new(&pool, &runtime));
        Ok(Self { readers: Readers::Postgres(pool, runtime), writing: Writing::Postgres(transactions), nodes })
    }

    /// Answers if the database can be read.
    ///
    /// # Errors
    /// [`RecordsError`] if it cannot.
    pub async fn ping(&self) -> Result<(), RecordsError> {
        let _: (i64,) = query_as("SELECT CAST(1 AS BIGINT)").fetch_one(&self.readers).await?;
        Ok(())
    }

    /// Empties the write-ahead log: what was deleted leaves the disk. Returns whether it could; it cannot while somebody
    /// reads an older state, and may be tried again.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn checkpoint(&self) -> Result<bool, RecordsError> {
        match &self.writing {
            Writing::Sqlite(writer) => writer.checkpoint().await,
            Writing::Postgres(_) => Ok(true),
        }
    }

    /// Changes each time that the database went away while it committed a write ([`RecordsError::OutcomeUnknown`]). None for
    /// SQLite, which does not go away.
    pub fn unknown_outcomes(&self) -> Option<watch::Receiver<()>> {
        match &self.writing {
            Writing::Sqlite(_) => None,
            Writing::Postgres(transactions) => Some(transactions.unknown_outcomes()),
        }
    }

    /// Waits for the writes that are under way, and closes the database.
    pub async fn close(&self) {
        match &self.writing {
            Writing::Sqlite(writer) => writer.close().await,
            Writing::Postgres(transactions) => transactions.close().await,
        }
        self.readers.close().await;
        if let Some(nodes) = &self.nodes {
            nodes.connections.close().await;
        }
    }

    async fn write<S: Statement>(&self, statement: S) -> Result<S::Output, RecordsError> {
        match &self.writing {
            Writing::Sqlite(writer) => writer.submit(statement).await,
            Writing::Postgres(transactions) => transactions.run(statement).await,
        }
    }
}
