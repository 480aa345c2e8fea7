//! The nodes that share a database of PostgreSQL, and which of them are alive.
//!
//! A node is alive as long as it has a row here. It writes into it every second that it is alive, by the database's own
//! clock, since those of the nodes may differ; whoever has not for [`DEAD_AFTER`] is declared dead by another node, which
//! removes the row. That is final: a node that was only paused finds no row of its own any more, and enters anew, under
//! another number. Whatever was held under the old one is free from then on, and what is done in its name changes nothing.
//!
//! SQLite has one node, which is not written down.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::{FromRow, PgPool, postgres::PgPoolOptions};
use tokio::runtime::Handle;

use super::{Records, RecordsError, Statement};
use crate::records::sql::{Connection, Readers, query, query_as};

/// How long a node may not say that it is alive before it counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Connections beside those of the pool, so that no node seems dead because it has much to do: one listens, one speaks, the
/// others take leases.
const CONNECTIONS: u32 = 4;

/// How long one is waited for, and a new one may take.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time of the database, in milliseconds. PostgreSQL's own words: SQLite has no nodes.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

/// The number of a node: of one process, from its start to its end or until it was declared dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i64);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its number.
    pub id: NodeId,
    /// Where the others reach it; none if it is alone.
    pub address: Option<String>,
    /// How long ago it said that it is alive.
    pub unseen_for: Duration,
    /// When it said so, by the database's clock: to be compared with another look only.
    pub seen_at: i64,
}

/// Enters a node among those that are alive.
#[derive(Debug, Clone)]
pub struct RegisterNode {
    /// Its number, which was never used before.
    pub id: NodeId,
    /// Where the others reach it. A node without an address is alone, or is refused.
    pub address: Option<String>,
    /// Whether another node with this address can only be the one that was here before this process.
    pub replaces: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It is one of the nodes.
    Registered,
    /// These are here, and do not go together with it: one of them, or it, is to be alone.
    Refused(Vec<NodeRecord>),
}

/// What is needed to speak with the other nodes.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    /// Connections of their own.
    pub(super) pool: PgPool,
    pub(super) connections: Readers,
    /// Under which number this process writes; 0 under none.
    me: Arc<AtomicI64>,
}

impl Nodes {
    /// For the database of this pool, on a runtime that lasts.
    pub(super) fn new(pool: &PgPool, runtime: &Handle) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with((*pool.connect_options()).clone());
        Self { connections: Readers::Postgres(pool.clone(), runtime.clone()), pool, me: Arc::default() }
    }
}

#[derive(FromRow)]
struct NodeRow {
    id: i64,
    address: Option<String>,
    seen_at: i64,
    unseen_for: i64,
}

impl From<NodeRow> for NodeRecord {
    fn from(row: NodeRow) -> Self {
        Self {
            id: NodeId(row.id),
            address: row.address,
            unseen_for: Duration::from_millis(row.unseen_for.try_into().unwrap_or(0)),
            seen_at: row.seen_at,
        }
    }
}

impl Records {
    /// Whether several nodes can share this database.
    pub fn has_nodes(&self) -> bool {
        self.nodes.is_some()
    }

    /// The connections of nodes.
    ///
    /// # Errors
    /// [`RecordsError::NoNodes`] on SQLite.
    pub(super) fn nodes(&self) -> Result<&Nodes, RecordsError> {
        self.nodes.as_ref().ok_or(RecordsError::NoNodes)
    }

    /// Under which number this process writes down what it holds: `NULL` where there is one node only.
    pub(super) fn me(&self) -> Option<i64> {
        let me = self.nodes.as_ref()?.me.load(Ordering::Acquire);
        (me != 0).then_some(me)
    }

    /// Enters a node, unless it does not go together with those that are here. Those that count as dead are removed first.
    /// What this process holds from now on it holds under this number.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn register_node(&self, node: RegisterNode) -> Result<RegisterOutcome, RecordsError> {
        let (nodes, id) = (self.nodes()?, node.id);
        let outcome = self.write(node).await?;
        if outcome == RegisterOutcome::Registered {
            nodes.me.store(id.0, Ordering::Release);
        }
        Ok(outcome)
    }

    /// This node is alive. Returns all who are entered, itself included, or nothing if it was declared dead.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn node_lives(&self, id: NodeId) -> Result<Option<Vec<NodeRecord>>, RecordsError> {
        let seen = query_as(concat!(
            "WITH seen AS (UPDATE nodes SET seen_at = ",
            now!(),
            " WHERE id = $1 RETURNING id)
             SELECT id, address, seen_at, CASE WHEN id = $1 THEN 0 ELSE ",
            now!(),
            " - seen_at END AS unseen_for FROM nodes WHERE EXISTS (SELECT 1 FROM seen) ORDER BY id"
        ))
        .bind(id.0)
        .fetch_all::<NodeRow>(&self.nodes()?.connections)
        .await?;
        Ok((!seen.is_empty()).then(|| seen.into_iter().map(NodeRecord::from).collect()))
    }

    /// Declares those dead who did not say for [`DEAD_AFTER`] that they are alive, and tells who they are.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn bury_nodes(&self) -> Result<Vec<NodeId>, RecordsError> {
        let buried: Vec<(i64,)> = query_as(concat!("DELETE FROM nodes WHERE seen_at < ", now!(), " - $1 RETURNING id"))
            .bind(dead_after())
            .fetch_all(&self.nodes()?.connections)
            .await?;
        Ok(buried.into_iter().map(|(id,)| NodeId(id)).collect())
    }

    /// A node leaves in order. What it held is free.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or has no nodes.
    pub async fn deregister_node(&self, id: NodeId) -> Result<(), RecordsError> {
        query("DELETE FROM nodes WHERE id = $1").bind(id.0).execute(&self.nodes()?.connections).await?;
        Ok(())
    }
}

fn dead_after() -> i64 {
    i64::try_from(DEAD_AFTER.as_millis()).unwrap_or(i64::MAX)
}

impl Statement for RegisterNode {
    type Output = RegisterOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<RegisterOutcome, RecordsError> {
        query(concat!("DELETE FROM nodes WHERE seen_at < ", now!(), " - $1"))
            .bind(dead_after())
            .execute(&mut *connection)
            .await?;
        if self.replaces {
            query("DELETE FROM nodes WHERE address = $1")
                .bind(self.address.as_deref())
                .execute(&mut *connection)
                .await?;
        }
        let here: Vec<NodeRow> = query_as(concat!(
            "SELECT id, address, seen_at, ",
            now!(),
            " - seen_at AS unseen_for FROM nodes ORDER BY id"
        ))
        .fetch_all(&mut *connection)
        .await?;
        let is_alone = self.address.is_none() || here.iter().any(|node| node.address.is_none());
        if is_alone && !here.is_empty() {
            return Ok(RegisterOutcome::Refused(here.into_iter().map(NodeRecord::from).collect()));
        }
        query(concat!(
            "INSERT INTO nodes (id, address, started_at, seen_at) VALUES ($1, $2, ",
            now!(),
            ", ",
            now!(),
            ")"
        ))
        .bind(self.id.0)
        .bind(self.address.as_deref())
        .execute(connection)
        .await?;
        Ok(RegisterOutcome::Registered)
    }
}
