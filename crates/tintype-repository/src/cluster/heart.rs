//! The sign of life of a node, once a second, and what it learns of the others by it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tintype_storage::records::{DEAD_AFTER, NodeRecord, RecordsError};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;

/// How often a node says that it is alive.
const EVERY: Duration = Duration::from_secs(1);

/// The longest pause between two signs of life after which a node may still judge others: where it was paused, or the
/// database away, the others may have been silent for the same reason.
const STEADY: Duration = Duration::from_secs(3);

/// Says that the node is alive until it leaves.
pub(super) fn beat(shared: &Arc<Shared>) {
    let (observed, closing): (Weak<Shared>, _) = (Arc::downgrade(shared), shared.closing.clone());
    shared.runtime.spawn(closing.run_until_cancelled_owned(async move {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heart = Heart { last: Instant::now(), steady_since: Instant::now() };
        loop {
            tick.tick().await;
            let Some(shared) = observed.upgrade() else { return };
            if let Err(error) = heart.beat(&shared).await {
                tracing::warn!(%error, "this node could not say that it is alive; it is tried again");
            }
        }
    }));
}

struct Heart {
    /// The last sign of life that arrived.
    last: Instant,
    /// Since when they were never further apart than [`STEADY`].
    steady_since: Instant,
}

impl Heart {
    async fn beat(&mut self, shared: &Shared) -> Result<(), RecordsError> {
        let said_at = shared.hearing.now();
        let Some(nodes) = shared.records.node_lives(shared.node()).await? else {
            shared.hearing.missed();
            return enter_anew(shared).await;
        };
        if shared.membership.advertise.is_none() {
            // As long as it is entered nobody else is, and there is nobody to be heard.
            shared.hearing.heard(said_at);
        }
        let now = Instant::now();
        if now - self.last > STEADY {
            self.steady_since = now;
        }
        self.last = now;
        let silent = |node: &NodeRecord| node.unseen_for > DEAD_AFTER;
        let mut buried = Vec::new();
        if nodes.iter().any(silent) && now - self.steady_since > DEAD_AFTER {
            buried = shared.records.bury_nodes().await?;
            for node in &buried {
                tracing::warn!(%node, "a node was not seen for {} seconds, and counts as dead", DEAD_AFTER.as_secs());
            }
        }
        shared.saw(nodes.into_iter().filter(|node| !buried.contains(&node.id)).collect());
        Ok(())
    }
}

/// This node was declared dead: what it held is not its own any more.
async fn enter_anew(shared: &Shared) -> Result<(), RecordsError> {
    tracing::warn!("this node was taken for dead: what it was receiving is lost to it, and has to be sent again");
    // Not in the place of another one: two that say they are reached at one address would otherwise expel each other.
    match shared.enter(false).await {
        Ok(()) => {}
        Err(super::ClusterError::Records(error)) => return Err(error),
        Err(error) => tracing::error!(%error, "this node cannot go on: it remembers nothing until it is alone"),
    }
    shared.gone.send_modify(|times| *times += 1);
    Ok(())
}
