//! The nodes that share a database: which of them are alive, and what one of them does for all.
//!
//! Each says every second that it is alive, and learns who else is (see `tintype_storage::records`, `nodes`). Who is
//! declared dead is so for good: a node that finds out that it was, because it was paused or cut off, enters anew under
//! another number, and what it held under the old one is not its own any more.

mod hearing;
mod heart;
mod voice;
mod word;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

pub(crate) use self::word::Word;
use self::{hearing::Hearing, voice::Voice};
use tintype_domain::Randomness;
use tintype_storage::records::{
    LeaseOutcome, NodeId, NodeRecord, Records, RecordsError, RegisterNode, RegisterOutcome,
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::ClusterKey;

/// How often it is looked whether those that are here are alive, while a node waits for them to leave.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked, before that is an error, whether a node that was taken for dead has entered anew.
const ENTERS_WITHIN: u32 = 6;

/// How long a node that leaves tries to tell the others what it knows.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// How this node takes part.
#[derive(Clone)]
pub struct Membership {
    /// The URL at which the other nodes reach it; none if it is to be the only one.
    pub advertise: Option<String>,
    /// What all nodes know, and nobody else.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership").field("advertise", &self.advertise).finish_non_exhaustive()
    }
}

/// Another node, which is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// The URL at which it is reached.
    pub address: String,
}

/// Why this node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It is to be alone, and is not.
    #[error(
        "another server uses this database ({}). Several servers can share one if each of them has [cluster]",
        places(.0)
    )]
    NotAlone(Vec<NodeRecord>),
    /// One that is to be alone is here.
    #[error("a server without [cluster] uses this database, and has to be stopped first")]
    BesideOneAlone,
    /// The records failed.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

fn places(nodes: &[NodeRecord]) -> String {
    let place = |node: &NodeRecord| match &node.address {
        Some(address) => format!("at {address}"),
        None => "without [cluster]".to_owned(),
    };
    nodes.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// What one node does for all.
#[derive(Debug)]
pub enum Take {
    /// This node does it, until the lease is dropped.
    Mine(Lease),
    /// This one does.
    Of(Node),
}

/// Something that this node does for all. It is given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    cluster: Cluster,
    name: String,
    node: NodeId,
}

/// The nodes, as one of them sees them. Cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    records: Records,
    membership: Membership,
    randomness: Arc<dyn Randomness>,
    runtime: Handle,
    /// The number of this node; another one after it was declared dead.
    me: AtomicI64,
    others: Mutex<Vec<Node>>,
    /// Leases of this node that are being given back.
    giving_back: watch::Sender<HashSet<String>>,
    voice: Voice,
    hearing: Hearing,
    /// Counts how often a node was gone that had been there.
    gone: watch::Sender<u64>,
    closing: CancellationToken,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("node", &self.node()).field("others", &self.others()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Enters this node among those that share the records, and has it say from now on that it is alive. Waits for those
    /// that do not go together with it, if they are dead.
    ///
    /// What it does runs on the runtime that this is called on.
    ///
    /// # Errors
    /// [`ClusterError`] if they are alive, or the records fail.
    pub async fn join(
        records: &Records,
        membership: Membership,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, ClusterError> {
        let shared = Arc::new(Shared {
            records: records.clone(),
            membership,
            randomness,
            runtime: Handle::current(),
            me: AtomicI64::new(0),
            others: Mutex::default(),
            giving_back: watch::Sender::default(),
            voice: Voice::default(),
            hearing: Hearing::new(),
            gone: watch::Sender::default(),
            closing: CancellationToken::new(),
        });
        // Whoever had this address before is gone: this process listens there now.
        shared.enter(true).await?;
        if let Some(nodes) = shared.records.node_lives(shared.node()).await? {
            shared.saw(nodes);
        }
        heart::beat(&shared);
        if shared.membership.advertise.is_some() {
            voice::speak(&shared);
        }
        Ok(Self(shared))
    }

    /// The number of this node. It changes if it was declared dead.
    pub fn node(&self) -> NodeId {
        self.0.node()
    }

    /// The key that all nodes have for this purpose; none, if this node is to be the only one.
    pub fn key(&self, purpose: &str) -> Option<ClusterKey> {
        self.0.membership.advertise.is_some().then(|| ClusterKey::new(self.secret(), purpose))
    }

    /// What all nodes know, and nobody else.
    pub fn secret(&self) -> &[u8] {
        &self.0.membership.secret
    }

    /// The other nodes that are alive.
    pub fn others(&self) -> Vec<Node> {
        self.0.others().clone()
    }

    /// Another node, if it is alive.
    pub fn find(&self, id: NodeId) -> Option<Node> {
        self.0.others().iter().find(|node| node.id == id).cloned()
    }

    /// The same; one that came within the last second is asked for in the records.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_now(&self, id: NodeId) -> Result<Option<Node>, RecordsError> {
        if let Some(node) = self.find(id) {
            return Ok(Some(node));
        }
        if let Some(nodes) = self.0.records.node_lives(self.node()).await? {
            self.0.saw(nodes);
        }
        Ok(self.find(id))
    }

    /// Takes upon this node what one does for all, unless another one does it.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails, or this node was declared dead and does not enter anew in a while.
    pub async fn take(&self, name: &str) -> Result<Take, RecordsError> {
        // What this node gives back it would otherwise lose after it has taken it again.
        let mut giving_back = self.0.giving_back.subscribe();
        // Its sender lives as long as this.
        let _ = giving_back.wait_for(|names| !names.contains(name)).await;
        let mut deaths = 0;
        loop {
            let node = self.node();
            match self.0.records.take_lease(name, node).await? {
                LeaseOutcome::Taken => {
                    return Ok(Take::Mine(Lease { cluster: self.clone(), name: name.to_owned(), node }));
                }
                LeaseOutcome::Held(holder) => {
                    if let Some(node) = self.find_now(holder).await? {
                        return Ok(Take::Of(node));
                    }
                    // It has left meanwhile, or is about to be declared dead.
                    sleep(LOOK_EVERY).await;
                }
                LeaseOutcome::Dead if deaths == ENTERS_WITHIN => return Err(RecordsError::TakenForDead),
                LeaseOutcome::Dead => {
                    // It learns that with its next sign of life.
                    deaths += 1;
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Changes when a node is gone that was there: whatever it was about to tell will not be told.
    pub(crate) fn gone(&self) -> watch::Receiver<u64> {
        self.0.gone.subscribe()
    }

    /// Whether there may be others.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.membership.advertise.is_some()
    }

    pub(crate) fn records(&self) -> &Records {
        &self.0.records
    }

    /// Tells the others, soon.
    pub(crate) fn say(&self, word: &Word) {
        if self.is_shared() {
            self.0.voice.say(word);
        }
    }

    /// Resolves when all that was said before is committed.
    pub(crate) async fn told(&self) {
        if self.is_shared() {
            self.0.voice.told().await;
        }
    }

    /// Whether what this node remembers may be wrong.
    pub(crate) fn is_deaf(&self) -> bool {
        self.0.hearing.is_deaf()
    }

    /// Everything is heard that was told until this node told itself that it was so late.
    pub(crate) fn heard(&self, at: u64) {
        self.0.hearing.heard(at);
    }

    /// Words may have been missed.
    pub(crate) fn missed_words(&self) {
        self.0.hearing.missed();
    }

    /// Whether words may have been missed, and nothing was heard since.
    pub(crate) fn has_missed_words(&self) -> bool {
        self.0.hearing.has_missed()
    }

    /// How often everything was forgotten.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.hearing.epoch()
    }

    /// What was looked up before is not to be remembered.
    pub(crate) fn next_epoch(&self) {
        self.0.hearing.next_epoch();
    }

    /// Leaves: what this node held is free.
    pub(crate) async fn leave(&self) {
        let _ = timeout(TELL_WITHIN, self.told()).await;
        self.0.closing.cancel();
        if let Err(error) = self.0.records.deregister_node(self.node()).await {
            tracing::warn!(%error, "this node could not say that it leaves; the others will see that it is gone");
        }
    }
}

impl Lease {
    /// Whether it is this node's still: not, if it was declared dead since.
    pub fn holds(&self) -> bool {
        self.cluster.node() == self.node
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (shared, name, node) = (Arc::clone(&self.cluster.0), std::mem::take(&mut self.name), self.node);
        shared.giving_back.send_if_modified(|names| names.insert(name.clone()));
        self.cluster.0.runtime.spawn(async move {
            if let Err(error) = shared.records.release_lease(&name, node).await {
                tracing::debug!(%error, name, "a lease could not be given back");
            }
            shared.giving_back.send_if_modified(|names| names.remove(&name));
        });
    }
}

impl Shared {
    fn node(&self) -> NodeId {
        NodeId(self.me.load(Ordering::Acquire))
    }

    fn others(&self) -> MutexGuard<'_, Vec<Node>> {
        // Every change under this lock is whole before anything in it could panic.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters this node under a new number. Those in its way are watched for as long as they may be dead.
    async fn enter(&self, replaces: bool) -> Result<(), ClusterError> {
        let mut watched: Option<Vec<NodeRecord>> = None;
        loop {
            let node = self.new_number();
            let address = self.membership.advertise.clone();
            let here = match self.records.register_node(RegisterNode { id: node, address, replaces }).await? {
                RegisterOutcome::Registered => {
                    self.me.store(node.0, Ordering::Release);
                    return Ok(());
                }
                RegisterOutcome::Refused(here) => here,
            };
            let is_alive = |node: &NodeRecord| {
                watched.iter().flatten().any(|before| before.id == node.id && before.seen_at != node.seen_at)
            };
            if here.iter().any(is_alive) {
                return Err(match self.membership.advertise {
                    Some(_) => ClusterError::BesideOneAlone,
                    None => ClusterError::NotAlone(here),
                });
            }
            if watched.is_none() {
                tracing::info!("another server used this database a moment ago: waiting for a sign of life");
            }
            watched.get_or_insert(here);
            sleep(LOOK_EVERY).await;
        }
    }

    fn new_number(&self) -> NodeId {
        loop {
            let mut random = [0; 8];
            self.randomness.fill(&mut random);
            // Not negative, and 0 is nobody's.
            let number = i64::from_ne_bytes(random) & i64::MAX;
            if number != 0 {
                return NodeId(number);
            }
        }
    }

    /// These are alive, this node among them.
    fn saw(&self, nodes: Vec<NodeRecord>) {
        let me = self.node();
        let others = nodes.into_iter().filter(|node| node.id != me);
        let others = others.filter_map(|node| Some(Node { id: node.id, address: node.address? })).collect();
        let before = std::mem::replace(&mut *self.others(), others);
        let gone = before.into_iter().filter(|node| !self.others().contains(node)).count();
        if gone > 0 {
            self.gone.send_modify(|times| *times += 1);
        }
    }
}
