//! What nobody needs any more is removed: at the start what a crash left, and every minute what has expired, what other
//! servers sent and nobody asks for any more, and the files of what was deleted.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tintype_domain::Timestamp;
use tintype_storage::{
    blobs::{Blobs, Location, Sweep},
    records::{EvictRemote, Expired, Records, RecordsError, RemoveOutcome, Unattached},
};
use tokio::time::sleep;

use crate::{Cluster, Inner, Repository, StorageError, attach, background::Observed};

/// How often expired reservations are swept. They are refused from the moment they expire; this only frees what they
/// hold.
const EVERY: Duration = Duration::from_mins(1);

/// How often it is looked whether another process asks for something, or a homeserver is to be asked again. By the
/// machine's clock: another process does not wait for that of a test.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long what the database refused is let be.
pub(crate) const AFTER_A_FAILURE: Duration = Duration::from_secs(10);

/// Reservations swept in one transaction.
const AT_ONCE: u32 = 500;

/// Of what others left who are gone. A folder of blobs that several nodes share is left alone: see `leftovers`. In a folder of
/// its own a node finds what it kept of interrupted uploads under an earlier number, and goes on with it.
pub(crate) async fn what_a_crash_left(
    records: &Records,
    blobs: &Blobs,
    now: Timestamp,
    cluster: Option<&Cluster>,
) -> Result<(), StorageError> {
    // Whoever was forwarding a request is gone, and the answer with them.
    records.abandon_attachments(now).await?;
    // Whoever was bringing an upload is gone.
    records.release_all().await?;
    if blobs.arrive_among_others() {
        return Ok(());
    }
    let alone = !cluster.is_some_and(Cluster::is_shared);
    let mut here = HashSet::new();
    for folder in blobs.folders() {
        here.extend(folder.partial_names().await?);
    }
    let mut partial = HashSet::new();
    for (name, size) in records.partials().await? {
        if !alone && !here.contains(&name) {
            // It lies at another node, which may not be there yet.
        } else if size == 0 {
            // What may be in its file was recorded nowhere: it goes, and what was said of the upload stays.
            records.adopt_partial(name).await?;
        } else if blobs.cut_partial(&name, size).await? {
            if records.adopt_partial(name.clone()).await? {
                partial.insert(name);
            }
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
        // What was deleted before the last stop is still owed, and its minute may be over.
        if let Some(inner) = observed.upgrade() {
            remove_unneeded(&inner).await;
        }
        let mut lease = None;
        loop {
            alarm.await;
            let Some(inner) = observed.upgrade() else { return };
            // From when the work begins, however long it takes: a minute that passes meanwhile counts.
            alarm = inner.clock.reaches(inner.clock.now() + EVERY);
            // What each node counts for itself.
            if let Err(error) = count(&inner).await {
                tracing::warn!(%error, "requests for media could not be counted; it is tried again");
            }
            if let Err(error) = note_use(&inner).await {
                tracing::warn!(%error, "the last use of remote media could not be noted; it is tried again");
            }
            if let Err(error) = Repository(Arc::clone(&inner)).settle_blobs().await {
                tracing::warn!(%error, "it is not known whether an upload was recorded; its file is kept, and it is asked again");
            }
            if let Err(error) = inner.blobs.remove_unsent().await {
                tracing::warn!(%error, "what uploads left that failed could not be removed; it is tried again");
            }
            if !inner.does("sweep:expired", &mut lease).await {
                continue;
            }
            if let Err(error) = expired(&inner).await {
                tracing::warn!(%error, "expired reservations could not be swept; it is tried again");
            }
            if let Err(error) = over(&inner).await {
                tracing::warn!(%error, "ephemeral media could not be ended; it is tried again");
            }
            if let Err(error) = unattached(&inner).await {
                tracing::warn!(%error, "media that nobody attached could not be removed; it is tried again");
            }
            if let Err(error) = Repository(Arc::clone(&inner)).remove_unneeded_links().await {
                tracing::warn!(%error, "media that nobody needs could not be removed; it is tried again");
            }
            if let Err(error) = attach::sweep(&inner).await {
                tracing::warn!(%error, "what is open of attaching could not be swept; it is tried again");
            }
            if let Err(error) = unused(&inner).await {
                tracing::warn!(%error, "the cache of remote media could not be swept; it is tried again");
            }
            remove_unneeded(&inner).await;
        }
    });
}

/// Believes nothing any more that is remembered of records, each time that the database went away during a commit: it may
/// have changed them, and nobody was told.
pub(crate) fn what_is_not_known(inner: &Arc<Inner>) {
    let Some(mut unknown) = inner.records.unknown_outcomes() else { return };
    let observed: Observed = Arc::downgrade(inner);
    inner.background.while_open(async move {
        while unknown.changed().await.is_ok() {
            let Some(inner) = observed.upgrade() else { return };
            inner.forget_everything();
        }
    });
}

/// Does what was asked for beside this server, and what a homeserver could not answer before, until the repository is
/// closed.
pub(crate) fn what_is_due(inner: &Arc<Inner>) {
    let observed: Observed = Arc::downgrade(inner);
    inner.background.while_open(async move {
        let mut lease = None;
        loop {
            let Some(inner) = observed.upgrade() else { return };
            if !inner.does("sweep:due", &mut lease).await {
                drop(inner);
                sleep(LOOK_EVERY).await;
                continue;
            }
            let looked = due(&Repository(inner)).await;
            if let Err(error) = &looked {
                tracing::warn!(%error, "it could not be looked up what is due; it is tried again");
            }
            sleep(if looked.is_ok() { LOOK_EVERY } else { AFTER_A_FAILURE }).await;
        }
    });
}

async fn due(repository: &Repository) -> Result<(), StorageError> {
    let inner = &repository.0;
    if !inner.records.erasures_due().await?.is_empty() {
        repository.erase_soon();
    }
    if !inner.records.redactions_due(inner.clock.now(), 1).await?.is_empty() {
        repository.redactions_due().await;
    }
    Ok(())
}

async fn remove_unneeded(inner: &Inner) {
    if let Err(error) = unneeded(inner).await {
        tracing::warn!(%error, "files of deleted media could not be removed; it is tried again");
    }
}

async fn expired(inner: &Inner) -> Result<(), StorageError> {
    loop {
        let swept = inner.records.expire(inner.clock.now(), AT_ONCE).await?;
        inner.metrics.expired(swept.len());
        for Expired { mxc, partial } in &swept {
            inner.broke_off(mxc);
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

/// Ends ephemeral media whose time has come: ours, and copies of others', before the next sweep would be too late.
async fn over(inner: &Inner) -> Result<(), StorageError> {
    let now = inner.clock.now();
    loop {
        let ended = inner.records.end_media(now, AT_ONCE).await?;
        inner.metrics.ended(ended.len());
        for mxc in &ended {
            inner.ended(mxc);
        }
        if ended.len() < AT_ONCE as usize {
            break;
        }
    }
    loop {
        let ended = inner.records.end_remote(now + EVERY, now, AT_ONCE).await?;
        for key in &ended {
            inner.forget(key).await;
            inner.cut(&key.mxc);
        }
        if ended.len() < AT_ONCE as usize {
            return Ok(());
        }
    }
}

/// Removes restricted media that was attached to nothing in time.
async fn unattached(inner: &Inner) -> Result<(), StorageError> {
    loop {
        let ended = inner.records.end_unattached(inner.clock.now(), AT_ONCE).await?;
        inner.metrics.unattached(ended.len());
        for Unattached { mxc, removed } in &ended {
            inner.ended(mxc);
            if let RemoveOutcome::Unreserved { partial: Some(name) } = removed
                && let Err(error) = inner.blobs.remove_partial(name).await
            {
                tracing::warn!(%error, file = name.as_str(), "an upload that nobody attached stays until the next start");
            }
        }
        if ended.len() < AT_ONCE as usize {
            return Ok(());
        }
    }
}

/// Writes down who asked for media.
pub(crate) async fn count(inner: &Arc<Inner>) -> Result<(), StorageError> {
    let counting = Arc::clone(inner);
    // To its end even if the sweep is given up: what is written down and not known to be would be written twice.
    let counted = inner.background.finish(async move {
        let keep = async |requests| counting.records.count_media_requests(requests).await;
        counting.uses.record(counting.clock.now(), keep).await
    });
    Ok(counted.await.unwrap_or(Err(RecordsError::Closed))?)
}

/// Writes down what was used of the cache of remote media.
pub(crate) async fn note_use(inner: &Inner) -> Result<(), StorageError> {
    let used = inner.fetches.take_used();
    if !used.is_empty() {
        inner.records.touch_remote(used).await?;
    }
    Ok(())
}

/// Takes from the cache of remote media what was not used for too long, and the longest unused of what is too much.
async fn unused(inner: &Inner) -> Result<(), StorageError> {
    let rules = &inner.rules.remote;
    let now = inner.clock.now();
    loop {
        let evict = EvictRemote {
            unused_since: rules.cache_age.map(|age| now - age),
            max_bytes: rules.cache_bytes,
            limit: AT_ONCE,
            now,
        };
        let evicted = inner.records.evict_remote(evict).await?;
        inner.metrics.evicted(evicted.keys.len());
        for key in &evicted.keys {
            inner.forget(key).await;
        }
        if evicted.keys.len() < AT_ONCE as usize {
            break;
        }
    }
    inner.metrics.remote_cache(inner.records.remote_usage().await?.bytes);
    Ok(())
}

/// Removes the files of what was deleted. One that cannot be removed stays in the queue, and holds up no other.
async fn unneeded(inner: &Inner) -> Result<(), StorageError> {
    let _alone = inner.removing.lock().await;
    remove_queued(inner).await
}

/// The same, soon. Of many who want it at once only the first one has to be heard.
pub(crate) fn unneeded_soon(inner: &Arc<Inner>) {
    if inner.removal_is_due.swap(true, Ordering::AcqRel) {
        return;
    }
    let observed: Observed = Arc::downgrade(inner);
    inner.background.while_open(async move {
        let Some(inner) = observed.upgrade() else { return };
        let _alone = inner.removing.lock().await;
        // Whoever comes from now on may have queued what is not seen below.
        inner.removal_is_due.store(false, Ordering::Release);
        if let Err(error) = remove_queued(&inner).await {
            tracing::warn!(%error, "files of deleted media could not be removed; it is tried again");
        }
    });
}

/// Removes the files that are queued. One that cannot be removed stays in the queue, and holds up no other.
///
/// It is said of each before and after that it is removed: what somebody else keeps of it is to go at once, and so is what
/// they load meanwhile.
pub(crate) async fn remove_files(
    records: &Records,
    blobs: &Blobs,
    say: impl Fn(&Location),
) -> Result<(), StorageError> {
    let mut stuck = 0;
    loop {
        // The oldest come first: those that could not be removed a moment ago are in front.
        let queued = records.removals(AT_ONCE.saturating_add(stuck)).await?;
        let mut removed = Vec::new();
        for location in queued.into_iter().skip(stuck as usize) {
            say(&location);
            match blobs.remove(&location).await {
                Ok(()) => {
                    say(&location);
                    removed.push(location);
                }
                Err(error) => {
                    tracing::warn!(%error, location = location.as_str(), "a file could not be removed; it is tried again");
                    stuck += 1;
                }
            }
        }
        if removed.is_empty() {
            return Ok(());
        }
        records.removed(removed).await?;
    }
}

async fn remove_queued(inner: &Inner) -> Result<(), StorageError> {
    remove_files(&inner.records, &inner.blobs, |location| inner.removed(location)).await?;
    inner.metrics.removals_pending(inner.records.owed_removals().await?.0);
    // Small media is in the database: what was deleted is overwritten there, but the log still has it.
    if inner.log_holds_deleted.swap(false, Ordering::Relaxed) && !inner.records.checkpoint().await? {
        inner.log_holds_deleted.store(true, Ordering::Relaxed);
    }
    Ok(())
}
