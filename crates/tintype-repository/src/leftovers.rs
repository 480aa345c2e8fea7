//! What nodes left behind that are gone, in a folder of blobs that several share; and what is nobody's any more in a folder
//! of this node's own.
//!
//! A node says every minute that it is there, and one of them removes for all what those left that no longer do (see
//! `tintype_storage::blobs`, `place`). By the machine's clock: other nodes do not wait for that of a test.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tintype_storage::{
    blobs::{Files, SILENCE, Sweep},
    records::Records,
};
use tokio::time::sleep;

use crate::{Inner, StorageError, background::Observed, cluster::Cluster};

/// How often it is looked, and said that this node is there.
const EVERY: Duration = Duration::from_mins(1);

/// Begins to look, where there are other nodes.
pub(crate) fn of_other_nodes(inner: &Arc<Inner>) {
    let shares_a_folder = inner.blobs.folders().iter().any(|folder| folder.is_among_others());
    if !shares_a_folder && !inner.cluster.as_ref().is_some_and(Cluster::is_shared) {
        return;
    }
    let observed: Observed = Arc::downgrade(inner);
    inner.background.while_open(async move {
        let mut lease = None;
        loop {
            let Some(inner) = observed.upgrade() else { return };
            let does_for_all = inner.does("sweep:left", &mut lease).await;
            for folder in inner.blobs.folders() {
                if let Err(error) = folder.be_seen().await {
                    tracing::warn!(%error, "this node could not say that it uses the media folder; it is tried again");
                }
                // In a folder of its own each node has to look for itself: the reservation may have expired at another one.
                if (!folder.is_among_others() || does_for_all)
                    && let Err(error) = remove_in(&inner.records, folder).await
                {
                    tracing::warn!(%error, "what uploads left could not be removed; it is tried again");
                }
            }
            let may_be_left = Arc::clone(&inner.may_be_left);
            drop(inner);
            tokio::select! {
                () = sleep(EVERY) => {}
                () = may_be_left.notified() => {}
            }
        }
    });
}

/// Removes what nodes left that are gone, and partial uploads that no reservation names.
#[cfg(test)]
pub(crate) async fn remove(inner: &Inner) -> Result<(), StorageError> {
    for folder in inner.blobs.folders() {
        remove_in(&inner.records, folder).await?;
    }
    Ok(())
}

async fn remove_in(records: &Records, folder: &Files) -> Result<(), StorageError> {
    let mut sweep = Sweep::default();
    let left = if folder.is_among_others() { folder.left(SILENCE).await? } else { Vec::new() };
    for left in left {
        let mut unrecorded = Vec::new();
        for location in left.marked() {
            if !records.is_recorded(location).await? {
                unrecorded.push(location.clone());
            }
        }
        let cleared = folder.clear(left, &unrecorded).await?;
        sweep.temporary += cleared.temporary;
        sweep.unrecorded += cleared.unrecorded;
    }
    // First what is there, then what is recorded: a name is recorded before its file is made.
    let names = folder.partial_names().await?;
    if !names.is_empty() {
        let recorded: HashSet<_> = records.partials().await?.into_iter().map(|(name, _)| name).collect();
        for name in names.iter().filter(|name| !recorded.contains(name)) {
            folder.remove_partial(name).await?;
            sweep.partial += 1;
        }
    }
    if sweep != Sweep::default() {
        tracing::info!(
            temporary = sweep.temporary,
            unrecorded = sweep.unrecorded,
            partial = sweep.partial,
            "removed what uploads had left at nodes that are gone"
        );
    }
    Ok(())
}
