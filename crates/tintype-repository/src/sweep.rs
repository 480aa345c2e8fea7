//! What nobody needs any more is removed: at the start what a crash left, and every minute what has expired.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tintype_storage::{
    blobs::{Files, Sweep},
    records::{Expired, Records},
};

use crate::{Inner, StorageError, background::Observed};

/// How often expired reservations are swept. They are refused from the moment they expire; this only frees what they
/// hold.
const EVERY: Duration = Duration::from_mins(1);

/// Reservations swept in one transaction.
const AT_ONCE: u32 = 500;

pub(crate) async fn what_a_crash_left(records: &Records, blobs: &Files) -> Result<(), StorageError> {
    // Whoever was bringing an upload is gone.
    records.release_all().await?;
    let mut partial = HashSet::new();
    for (name, size) in records.partials().await? {
        if size == 0 {
            // What may be in its file was recorded nowhere: it goes, and what was said of the upload stays.
        } else if blobs.cut_partial(&name, size).await? {
            partial.insert(name);
        } else {
            tracing::warn!(file = name.as_str(), "what an interrupted upload had left is lost");
            records.forget_partial(name).await?;
        }
    }
    let sweep =
        blobs.sweep(partial, async |location| Ok::<_, StorageError>(records.is_recorded(location).await?)).await?;
    if sweep != Sweep::default() {
        tracing::info!(
            temporary = sweep.temporary,
            unrecorded = sweep.unrecorded,
            partial = sweep.partial,
            "removed what interrupted uploads had left"
        );
    }
    Ok(())
}

/// Sweeps what expires, until the repository is closed.
pub(crate) fn what_expires(inner: &Arc<Inner>) {
    let observed: Observed = Arc::downgrade(inner);
    let mut alarm = inner.clock.reaches(inner.clock.now() + EVERY);
    inner.background.while_open(async move {
        loop {
            alarm.await;
            let Some(inner) = observed.upgrade() else { return };
            if let Err(error) = expired(&inner).await {
                tracing::warn!(%error, "expired reservations could not be swept; it is tried again");
            }
            alarm = inner.clock.reaches(inner.clock.now() + EVERY);
        }
    });
}

async fn expired(inner: &Inner) -> Result<(), StorageError> {
    loop {
        let swept = inner.records.expire(inner.clock.now(), AT_ONCE).await?;
        inner.metrics.expired(swept.len());
        for Expired { mxc, partial } in &swept {
            inner.arrivals.broke_off(mxc);
            if let Some(name) = partial
                && let Err(error) = inner.blobs.remove_partial(name).await
            {
                tracing::warn!(%error, file = name.as_str(), "an expired upload stays until the next start");
            }
        }
        if swept.len() < AT_ONCE as usize {
            return Ok(());
        }
    }
}
