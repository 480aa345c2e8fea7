//! What is in the blob store although no record names it, and none will: a request that reached the store after what it
//! brought was removed, a store that came back from a backup.
//!
//! It is looked for once a day, and removed when it has been there for a day: what is being uploaded is younger. Where
//! more is found than such accidents leave, nothing is removed: the database is rather the wrong one, or an old one. Nor
//! where another installation uses the store.

use std::{sync::Arc, time::Duration};

use tintype_domain::Timestamp;
use tintype_storage::{
    blobs::{Location, Stored},
    records::Note,
};

use crate::{Inner, StorageError, background::Observed};

/// How often it is looked whether it is time.
const EVERY: Duration = Duration::from_mins(10);

/// How often all of the store is looked at.
const LOOK_EVERY: Duration = Duration::from_hours(24);

/// How long after its first start an installation looks first, and marks its store: before anything in it is old.
const FIRST: Duration = Duration::from_hours(12);

/// From when on what nobody knows is nobody's.
const SAFE_AGE: Duration = Duration::from_hours(24);

/// More of it than this, and than a tenth of all, is not believed.
const TOO_MANY: usize = 100;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strays {
    /// So many were removed.
    Removed(usize),
    /// So many are there, which is too much to be true.
    TooMany(usize),
    /// Others use the store, too.
    NotAlone,
}

/// Begins to look.
pub(crate) fn in_the_store(inner: &Arc<Inner>) {
    let observed: Observed = Arc::downgrade(inner);
    let mut alarm = inner.clock.reaches(inner.clock.now() + EVERY);
    inner.background.while_open(async move {
        let mut lease = None;
        loop {
            alarm.await;
            let Some(inner) = observed.upgrade() else { return };
            alarm = inner.clock.reaches(inner.clock.now() + EVERY);
            if inner.does("strays", &mut lease).await
                && let Err(error) = look_if_due(&inner).await
            {
                tracing::warn!(%error, "it could not be looked for what nobody knows in the blob store; it is tried again");
            }
        }
    });
}

async fn look_if_due(inner: &Inner) -> Result<(), StorageError> {
    let now = inner.clock.now();
    let last = inner.records.noted(Note::Strays).await?.and_then(|text| text.parse().ok()).map(Timestamp);
    let due = match last {
        Some(last) => last + LOOK_EVERY,
        None => inner.records.first_start(now).await? + FIRST,
    };
    if now < due {
        return Ok(());
    }
    match inner.blobs.abort_unfinished(now - SAFE_AGE).await {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "aborted uploads to the blob store that were never completed"),
        // The key may not be allowed to; the bucket's lifecycle rule does it then.
        Err(error) => {
            tracing::warn!(%error, "uploads to the blob store that were never completed could not be aborted");
        }
    }
    match remove(inner, now).await? {
        Strays::Removed(0) => {}
        Strays::Removed(blobs) => tracing::info!(blobs, "removed from the blob store what no record names"),
        Strays::TooMany(blobs) => tracing::error!(
            blobs,
            "there is much in the blob store that no record names. It is left alone: is this the right database?"
        ),
        Strays::NotAlone => tracing::error!(
            "another installation has marked the blob store as its own, below \"installations\". What no record names is left \
             alone. If there is none any more, remove its mark"
        ),
    }
    Ok(inner.records.note(Note::Strays, Some(now.as_millis().to_string())).await?)
}

/// Removes what no record names and is old enough at this time.
pub(crate) async fn remove(inner: &Inner, now: Timestamp) -> Result<Strays, StorageError> {
    let (records, blobs) = (&inner.records, &inner.blobs);
    if blobs.mark_as_of(&installation(inner).await?).await? > 0 {
        return Ok(Strays::NotAlone);
    }
    let (mut all, mut strays) = (0, Vec::<Location>::new());
    for first in 0..=u8::MAX {
        // First what is there, then what is recorded: what comes in between is in neither, or in both.
        let stored = blobs.shelf(first).await?;
        all += stored.len();
        let known = records.locations_of(first).await?;
        let is_stray = |one: &Stored| {
            one.since < Timestamp::NEVER && one.since + SAFE_AGE <= now && !known.contains(&one.location)
        };
        strays.extend(stored.into_iter().filter(is_stray).map(|one| one.location));
    }
    if strays.len() > TOO_MANY && strays.len() > all / 10 {
        return Ok(Strays::TooMany(strays.len()));
    }
    let mut removed = 0;
    for location in &strays {
        // Once more, and once and for all: of whoever is about to record it the end is waited for.
        if !records.is_recorded(location).await? {
            blobs.remove(location).await?;
            tracing::info!(location = location.as_str(), "removed a blob that no record names");
            inner.metrics.stray_removed();
            removed += 1;
        }
    }
    Ok(Strays::Removed(removed))
}

/// The name of this installation, for itself.
async fn installation(inner: &Inner) -> Result<String, StorageError> {
    if let Some(name) = inner.records.noted(Note::Installation).await? {
        return Ok(name);
    }
    let mut random = [0; 16];
    inner.randomness.fill(&mut random);
    let name = format!("{:032x}", u128::from_be_bytes(random));
    inner.records.note(Note::Installation, Some(name.clone())).await?;
    Ok(name)
}
