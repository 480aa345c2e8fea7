//! What is counted of the records, for the metrics of nodes that share them: what one node does changes it for all, so each
//! counts it when it is asked for its metrics, and all of them say the same.

use std::time::Duration;

use tokio::time::timeout;

use crate::{Repository, StorageError};

/// How long whoever reads metrics waits for the database. They are wanted most when it is slow.
const WITHIN: Duration = Duration::from_secs(1);

impl Repository {
    /// Brings the metrics up to date that say how much of something there is for all nodes together. Where there is one node
    /// only they always are.
    pub async fn measure(&self) {
        if !self.0.cluster.as_ref().is_some_and(crate::Cluster::is_shared) {
            return;
        }
        match timeout(WITHIN, self.count_records()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the records could not be counted for the metrics"),
            Err(_) => tracing::debug!("the records could not be counted in time for the metrics"),
        }
    }

    async fn count_records(&self) -> Result<(), StorageError> {
        let (records, metrics) = (&self.0.records, &self.0.metrics);
        metrics.pending(records.pending().await?);
        metrics.removals_pending(records.owed_removals().await?.0);
        metrics.remote_cache(records.remote_usage().await?.bytes);
        metrics.redactions_pending(records.pending_redactions().await?);
        metrics.rooms(records.count_rooms().await?);
        Ok(())
    }
}
