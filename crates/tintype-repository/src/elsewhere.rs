//! What is in the process of another node: whoever is asked for it says where, and the request is handed on (see
//! `tintype-api`). If that node has nothing of it any more, or is gone, whoever asked looks again.

use std::time::Duration;

use tintype_domain::Timestamp;
use tintype_storage::records::{NodeId, RecordsError};
use tokio::time::sleep;

use crate::{Cluster, Lease, MalformedTaken, Node, Repository, Take, waiting::Moment};

/// How long what another node had nothing of is let be, at most, before it is looked for again. What changes meanwhile is
/// told; this is for what got lost.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long before a node is asked for the third time, and again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a node may give no answer until others take over what it held, with some time to spare.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(15);

/// How often it is looked whether a node is gone.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// Something that another node has in its process.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Which node.
    pub node: Node,
    /// Until when whoever asks waits for it; as the request says, where it is not given.
    deadline: Option<Timestamp>,
    /// Until when it is looked for again if that node gives no answer.
    give_up: Timestamp,
    /// The present of the waiting room from before it was looked for.
    pub(crate) looked: Moment,
    /// How often it was asked for before.
    asked: u32,
}

impl Elsewhere {
    /// What is at this node is looked for there, until this deadline.
    pub(crate) fn until(node: Node, deadline: Timestamp, looked: Moment) -> Self {
        Self { node, deadline: Some(deadline), give_up: deadline, looked, asked: 0 }
    }

    /// The same for somebody who was sent elsewhere before. None, if it was looked for long enough.
    fn after(self, earlier: &Self, now: Timestamp) -> Option<Self> {
        let asked = earlier.asked + 1;
        (now < earlier.give_up).then_some(Self { give_up: earlier.give_up, asked, ..self })
    }
}

/// What became of the wish for a lease.
pub(crate) enum Leased {
    /// It is this node's. None is needed where there can be no others.
    Here(Option<Lease>),
    /// It is another node's.
    Elsewhere(Node),
}

impl Repository {
    /// Takes upon this node what one does for all, unless another one does it.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub(crate) async fn lease(&self, name: &str) -> Result<Leased, RecordsError> {
        match self.0.cluster.as_ref().filter(|cluster| cluster.is_shared()) {
            None => Ok(Leased::Here(None)),
            Some(cluster) => Ok(match cluster.take(name).await? {
                Take::Mine(lease) => Leased::Here(Some(lease)),
                Take::Of(node) => Leased::Elsewhere(node),
            }),
        }
    }

    /// What this node has begun is looked for there, for as long as the request says, and after `since` for as long as others
    /// need to take over.
    pub(crate) fn elsewhere(&self, node: Node, since: Option<Timestamp>) -> Elsewhere {
        let now = self.0.clock.now();
        let give_up = since.unwrap_or(now).max(now) + TAKEN_OVER_AFTER;
        Elsewhere { node, deadline: since, give_up, looked: self.0.waiting.now(), asked: 0 }
    }

    /// Waits before it is looked again for what a node had nothing of.
    pub(crate) async fn pause(&self, elsewhere: &Elsewhere) {
        if elsewhere.asked > 0 {
            sleep(PAUSE).await;
        }
    }

    /// Where it is now, for somebody who was sent elsewhere before; none, if it was looked for long enough.
    pub(crate) fn still_elsewhere(&self, found: Elsewhere, earlier: &Elsewhere) -> Option<Elsewhere> {
        found.after(earlier, self.0.clock.now())
    }

    /// How much longer whoever asks waits for what is elsewhere, if it was said.
    pub fn patience_left(&self, elsewhere: &Elsewhere) -> Option<Duration> {
        elsewhere.deadline.map(|deadline| deadline.since(self.0.clock.now()))
    }

    /// Another node, if it is one and alive. One that came a moment ago is one, too.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub(crate) async fn living(&self, node: Option<NodeId>) -> Result<Option<Node>, RecordsError> {
        let Some(cluster) = &self.0.cluster else { return Ok(None) };
        match node.filter(|node| *node != cluster.node()) {
            Some(node) => cluster.find_now(node).await,
            None => Ok(None),
        }
    }

    /// The number of this node among others, if there are any: another one after it was taken for dead.
    pub fn node(&self) -> Option<NodeId> {
        self.0.cluster.as_ref().map(Cluster::node)
    }

    /// Whether what this node has claimed is this one's: in its process, and among its files.
    pub(crate) fn is_this_node(&self, node: Option<NodeId>) -> bool {
        node.is_none() || self.0.cluster.is_none() || node == self.node()
    }

    /// The other nodes that are alive.
    pub fn other_nodes(&self) -> Vec<Node> {
        self.0.cluster.as_ref().map(Cluster::others).unwrap_or_default()
    }

    /// Resolves when this node is gone: it was not seen for so long that others take over what it held.
    pub async fn node_is_gone(&self, node: NodeId) {
        while self.0.cluster.as_ref().is_some_and(|cluster| cluster.find(node).is_some()) {
            sleep(LOOK_AFTER).await;
        }
    }

    /// What was taken here from the buckets of rate limits since this was last asked, for the other nodes; empty where it was
    /// nothing.
    pub fn taken(&self) -> Vec<u8> {
        self.0.limiters.taken()
    }

    /// Takes from the buckets what another node has given.
    ///
    /// # Errors
    /// [`MalformedTaken`] if it is not what a node says.
    pub fn hear_taken(&self, message: &[u8]) -> Result<(), MalformedTaken> {
        self.0.limiters.hear(message)
    }

    /// Takes from the buckets what is owed for what other nodes have given, as far as there is something in them.
    pub fn settle_taken(&self) {
        self.0.limiters.settle();
    }
}
