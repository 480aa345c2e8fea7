//! All blobs are read again and again, slowly, and it is looked whether each still is what was stored.
//!
//! One node does it for all, in the order of the records; how far it is stands in the database. What is found damaged twice
//! and can be had again, media of other servers and thumbnails, is forgotten, so that it is fetched or made again. Media of
//! ours is never removed: it may be all that its owner has, and most of it may be well. It is given out as it is (clients
//! that encrypt notice by themselves, and a picture with a stripe is more than none), logged, counted, and listed by
//! `tintype blobs check`, until a later check finds it sound or somebody stores the same bytes again, which take its place.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tintype_domain::{Mxc, Timestamp};
use tintype_storage::{
    blobs::{Location, Pace, Verdict},
    records::{Damage, Damaged, KeptBlob, Note, NoteDamage, RemoteKey, RemoteResponse},
};
use tokio::time::sleep;

use crate::{Inner, StorageError, background::Observed, rules::ScrubRules, sweep::AFTER_A_FAILURE};

/// How often it is looked whether there is something to check, and what is damaged.
const EVERY: Duration = Duration::from_mins(1);

/// Blobs that are checked before it is written down how far it is.
const AT_ONCE: u32 = 16;

/// Since when all blobs are checked, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    began: Timestamp,
    /// After which blob it goes on; none when all were checked.
    after: Option<i64>,
}

impl Progress {
    fn parse(text: &str) -> Option<Self> {
        let (began, after) = text.split_once(' ')?;
        let after = if after == "done" { None } else { Some(after.parse().ok()?) };
        Some(Self { began: Timestamp(began.parse().ok()?), after })
    }

    fn text(self) -> String {
        let began = self.began.as_millis();
        self.after.map_or_else(|| format!("{began} done"), |after| format!("{began} {after}"))
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    More,
    Later,
}

/// Begins to check.
pub(crate) fn everything(inner: &Arc<Inner>) {
    let observed: Observed = Arc::downgrade(inner);
    let pace = Pace::new(inner.rules.scrub.bytes_per_second);
    let mut alarm = inner.clock.reaches(inner.clock.now() + EVERY);
    inner.background.while_open(async move {
        let mut lease = None;
        loop {
            alarm.await;
            let Some(inner) = observed.upgrade() else { return };
            alarm = inner.clock.reaches(inner.clock.now() + EVERY);
            drop(inner);
            loop {
                let Some(inner) = observed.upgrade() else { return };
                if let Err(error) = count(&inner).await {
                    tracing::debug!(%error, "it is not known what is damaged");
                }
                if inner.rules.scrub.every.is_none() || !inner.does("scrub", &mut lease).await {
                    break;
                }
                match some(&inner, &pace).await {
                    Ok(Next::More) => {}
                    Ok(Next::Later) => break,
                    Err(error) => {
                        tracing::warn!(%error, "blobs could not be checked; it is tried again");
                        drop(inner);
                        sleep(AFTER_A_FAILURE).await;
                    }
                }
            }
        }
    });
}

async fn count(inner: &Inner) -> Result<(), StorageError> {
    let (all, missing) = inner.records.count_damages().await?;
    inner.damages.store(all, Ordering::Relaxed);
    inner.metrics.blobs_damaged(all - missing.min(all), missing);
    Ok(())
}

/// Checks some blobs.
async fn some(inner: &Inner, pace: &Pace) -> Result<Next, StorageError> {
    let ScrubRules { every: Some(every), .. } = inner.rules.scrub else { return Ok(Next::Later) };
    let now = inner.clock.now();
    let noted = inner.records.noted(Note::Scrub).await?.and_then(|text| Progress::parse(&text));
    let mut progress = noted.unwrap_or(Progress { began: now, after: Some(0) });
    let after = match progress.after {
        Some(after) => after,
        None if now < progress.began + every => return Ok(Next::Later),
        None => {
            progress.began = now;
            0
        }
    };
    let blobs = inner.records.kept_blobs(after, AT_ONCE).await?;
    for blob in &blobs {
        check(inner, blob, pace).await?;
    }
    progress.after = blobs.last().map(|blob| blob.id);
    if progress.after.is_none() && now > progress.began + every {
        tracing::warn!("to check all blobs took longer than [blobs] scrub: [blobs] scrub_rate is too low for that");
    }
    inner.records.note(Note::Scrub, Some(progress.text())).await?;
    Ok(if blobs.is_empty() { Next::Later } else { Next::More })
}

/// Checks one blob, and does what follows.
pub(crate) async fn check(inner: &Inner, blob: &KeptBlob, pace: &Pace) -> Result<(), StorageError> {
    let mut verdict = inner.blobs.verify(&blob.location, blob.size, pace).await?;
    inner.metrics.blob_checked(blob.size);
    if verdict != Verdict::Sound {
        // Not of a store that is not there; and not of what went wrong on the way only.
        inner.blobs.probe().await?;
        verdict = inner.blobs.verify(&blob.location, blob.size, pace).await?;
    }
    let damage = match verdict {
        Verdict::Sound => {
            if inner.damages.load(Ordering::Relaxed) > 0 && inner.records.is_mended(blob).await? {
                tracing::info!(location = blob.location.as_str(), "a blob that was damaged is sound again");
            }
            return Ok(());
        }
        Verdict::Damaged => Damage::Changed,
        Verdict::Missing => Damage::Missing,
    };
    let note = NoteDamage { blob: blob.clone(), damage, now: inner.clock.now() };
    // None: it was deleted while it was checked.
    if let Some(damaged) = inner.records.note_damage(note).await? {
        report(blob, damage, &damaged);
        forget(inner, damaged).await;
        count(inner).await?;
    }
    Ok(())
}

fn report(blob: &KeptBlob, damage: Damage, damaged: &Damaged) {
    let list = |media: &mut dyn Iterator<Item = &Mxc>| media.map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let media = list(&mut damaged.media.iter());
    let again =
        list(&mut damaged.responses.iter().map(|key| &key.mxc).chain(damaged.thumbnails.iter().map(|key| &key.mxc)));
    let location = blob.location.as_str();
    match damage {
        Damage::Changed => {
            tracing::error!(location, media, again, "a blob is damaged: its bytes are not those that were stored");
        }
        Damage::Missing => {
            tracing::error!(location, media, again, "a blob is missing");
        }
    }
}

/// Lets everybody look anew who remembers where the bytes are.
async fn forget(inner: &Inner, damaged: Damaged) {
    for key in &damaged.responses {
        inner.forget(key).await;
    }
    for key in damaged.thumbnails {
        let response = RemoteResponse::Thumbnail { width: key.width, height: key.height, method: key.method };
        inner.forget(&RemoteKey { mxc: key.mxc, response }).await;
    }
}

/// Puts a blob, which is not needed otherwise, into the place of one that is damaged and had the same bytes. Returns whether
/// there is one.
pub(crate) async fn mend(inner: &Inner, location: &Location) -> Result<bool, StorageError> {
    if inner.damages.load(Ordering::Relaxed) == 0 {
        return Ok(false);
    }
    let Some(media) = inner.records.mend(location, inner.clock.now()).await? else { return Ok(false) };
    inner.blobs.recorded(location).await;
    tracing::info!(location = location.as_str(), "a damaged blob was replaced: somebody stored the same bytes again");
    for mxc in media {
        inner.forget(&RemoteKey { mxc, response: RemoteResponse::Original }).await;
    }
    count(inner).await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
