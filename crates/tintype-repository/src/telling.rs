//! What happens to media, told to all who have to know: here, and on the other nodes.
//!
//! Whatever changes what somebody reads, waits for or remembers goes through one of these functions, after it is committed.
//! The effect here comes first; the word is told in the background ([`Inner::told`] waits for its commit). The others do the
//! same when they hear it. What decides are the records: a word only says that they have to be looked at.
//!
//! A node that may have missed a word answers nothing from memory, and everybody who waits looks again each second. What is
//! being read that may end is asked for each second in any case.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tintype_domain::{Audience, Mxc};
use tintype_storage::{
    blobs::Location,
    records::{Basis, Ear, RecordsError, RemoteKey, RemoteResponse, ThumbnailKey},
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    Inner, Lease, Take, TokensOf,
    background::Observed,
    cluster::{Cluster, Word},
    open::CachedMedia,
};

/// How often it is looked whether what is being read has ended, and whether this node is deaf: so that what ended
/// without a word is cut within a second.
const WATCH_EVERY: Duration = Duration::from_millis(800);

/// How long nothing may be heard, not even this node itself, before another connection is tried.
const SILENCE: Duration = Duration::from_secs(3);

/// How long it waits before the next one.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

impl Inner {
    /// Wakes everybody who waits for this media.
    pub(crate) fn call(&self, mxc: &Mxc) {
        self.tell(&Word::Changed(mxc.clone()));
    }

    /// Wakes those to whom a beginning is enough: there is one.
    pub(crate) fn call_for_beginning(&self, mxc: &Mxc) {
        self.tell(&Word::Beginning(mxc.clone()));
    }

    /// Media that is gone from the records is cut from those who read it, and those who wait for it look again.
    pub(crate) fn ended(&self, mxc: &Mxc) {
        self.tell(&Word::Ended(mxc.clone()));
    }

    /// Media that is not for everybody any more who reads it is cut from them; they look again.
    pub(crate) fn cut(&self, mxc: &Mxc) {
        self.tell(&Word::Cut(mxc.clone()));
    }

    /// The upload of this media will never be whole: whoever reads what there is of it is let go.
    pub(crate) fn broke_off(&self, mxc: &Mxc) {
        self.tell(&Word::BrokeOff(mxc.clone()));
    }

    /// Something became known of rooms or events: servers that wait for that are judged again.
    pub(crate) fn heard_of_rooms(&self) {
        self.tell(&Word::Rooms);
    }

    /// What homeservers showed to anybody is not believed any more.
    pub(crate) fn visibility_changed(&self) {
        self.tell(&Word::Visibility);
    }

    /// Sessions were ended.
    pub(crate) fn sessions_ended(&self, tokens: &TokensOf) {
        self.tell(&Word::Sessions(tokens.clone()));
    }

    /// Another server says that its media is for this audience: what is coming under another one is given up.
    pub(crate) fn overruled_elsewhere(&self, mxc: &Mxc, audience: &Audience) {
        self.say(&Word::Overruled(mxc.clone(), audience.clone()));
    }

    /// Forgets what is believed of a response without asking the records.
    pub(crate) async fn forget(&self, key: &RemoteKey) {
        self.forget_here(key).await;
        self.say(&Word::Forget(key.clone()));
    }

    /// Bytes that no record names are being removed, or were.
    pub(crate) fn removed(&self, location: &Location) {
        self.tell(&Word::Removed(location.clone()));
    }

    /// Resolves when the others were told all that was said before: they hear it a moment later.
    pub(crate) async fn told(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.told().await;
        }
    }

    /// Whether what is remembered may be wrong, since a word may have been missed.
    pub(crate) fn is_deaf(&self) -> bool {
        self.cluster.as_ref().is_some_and(Cluster::is_deaf)
    }

    /// The record that is remembered of this media.
    pub(crate) fn remembered(&self, mxc: &Mxc) -> Option<Arc<CachedMedia>> {
        if self.is_deaf() { None } else { self.media.get(mxc) }
    }

    /// How often everything was forgotten: taken before a look at the records, and compared before it is remembered what
    /// was seen there.
    pub(crate) fn epoch(&self) -> u64 {
        self.cluster.as_ref().map_or(0, Cluster::epoch)
    }

    /// Whether this node does what one does for all: where it has taken that upon itself, or now does.
    pub(crate) async fn does(&self, what: &str, lease: &mut Option<Lease>) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        if lease.as_ref().is_some_and(Lease::holds) {
            return true;
        }
        *lease = None;
        match cluster.take(what).await {
            Ok(Take::Mine(taken)) => *lease = Some(taken),
            Ok(Take::Of(_)) => {}
            Err(error) => tracing::debug!(%error, what, "it is not known which node does this"),
        }
        lease.is_some()
    }

    fn say(&self, word: &Word) {
        if let Some(cluster) = &self.cluster {
            cluster.say(word);
        }
    }

    fn tell(&self, word: &Word) {
        self.follow(word);
        self.say(word);
    }

    /// What follows here from what happened, here or elsewhere.
    fn follow(&self, word: &Word) {
        match word {
            Word::Changed(mxc) => self.waiting.call(mxc),
            Word::Beginning(mxc) => self.waiting.call_for_beginning(mxc),
            Word::Ended(mxc) => {
                self.log_holds_deleted.store(true, Ordering::Relaxed);
                self.lives.end(mxc);
                // After the end of its life: whoever puts it back, having looked before it went, sees that
                // (`find_stored`). What is remembered of its thumbnails is found by nobody who does not find it first.
                self.media.invalidate(mxc);
                self.arrivals.broke_off(mxc);
                self.waiting.call(mxc);
            }
            Word::Cut(mxc) => {
                self.lives.end(mxc);
                self.waiting.call(mxc);
            }
            Word::BrokeOff(mxc) => self.arrivals.broke_off(mxc),
            Word::Removed(location) => self.blobs.forget(location),
            Word::Sessions(tokens) => self.endings.note(tokens),
            Word::Visibility => self.sights.forget(),
            Word::Rooms => self.heard.send_replace(()),
            // The others need more than a moment, and this node has done its part.
            Word::Forget(_) | Word::Overruled(..) | Word::Beat(_) | Word::Unknown => {}
        }
    }

    async fn forget_here(&self, key: &RemoteKey) {
        self.log_holds_deleted.store(true, Ordering::Relaxed);
        match key.response {
            RemoteResponse::Original => self.media.invalidate(&key.mxc),
            RemoteResponse::Thumbnail { width, height, method } => {
                let key = ThumbnailKey { mxc: key.mxc.clone(), width, height, method };
                self.thumbnails.invalidate(&key).await;
            }
        }
    }

    /// Something that is remembered may be wrong, and it is not known what.
    pub(crate) fn forget_everything(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.next_epoch();
        }
        self.media.invalidate_all();
        self.thumbnails.invalidate_all();
        self.blobs.forget_all();
        self.endings.note_all();
        // What readers are held for may be stored by now, or brought anew, at another node.
        self.arrivals.give_up_all();
        self.look_again();
    }

    fn look_again(&self) {
        self.sights.forget();
        self.waiting.call_everybody();
        self.heard.send_replace(());
    }

    /// What another node says.
    async fn hear(&self, word: &Word) {
        match word {
            Word::Forget(key) => self.forget_here(key).await,
            Word::Overruled(mxc, audience) => {
                self.words.overrule(mxc, audience).await;
                self.media.invalidate(mxc);
            }
            Word::Unknown => self.forget_everything(),
            Word::Rooms => {
                self.follow(word);
                self.rooms_to_read.look();
            }
            Word::Ended(_) | Word::BrokeOff(_) => {
                self.follow(word);
                self.may_be_left.notify_one();
            }
            word => self.follow(word),
        }
    }
}

/// Hears the other nodes, and watches what they could not tell, until the repository is closed.
pub(crate) fn listen(inner: &Arc<Inner>) {
    let Some(cluster) = inner.cluster.clone().filter(Cluster::is_shared) else { return };
    let observed: Observed = Arc::downgrade(inner);
    let ears = cluster.clone();
    inner.background.while_open(async move {
        loop {
            if let Err(error) = hear_all(&ears, &observed).await {
                tracing::warn!(%error, "the other nodes cannot be heard; it is tried again");
            }
            if observed.strong_count() == 0 {
                return;
            }
            ears.missed_words();
            sleep(LISTEN_AGAIN).await;
        }
    });
    let observed: Observed = Arc::downgrade(inner);
    inner.background.while_open(async move {
        let mut tick = interval(WATCH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gone = cluster.gone();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // Its sender lives as long as this.
                _ = gone.changed() => {
                    let Some(inner) = observed.upgrade() else { return };
                    somebody_is_gone(&inner).await;
                }
            }
            let Some(inner) = observed.upgrade() else { return };
            if inner.is_deaf() {
                inner.look_again();
            }
            if let Err(error) = end_what_is_over(&inner).await {
                tracing::warn!(%error, "it is not known whether what is read has ended; it is asked again");
            }
        }
    });
}

/// Hears until the connection is lost.
async fn hear_all(cluster: &Cluster, observed: &Observed) -> Result<(), RecordsError> {
    let mut ear: Ear = cluster.records().hear_nodes().await?;
    loop {
        let Ok(heard) = timeout(SILENCE, ear.hear()).await else { return Ok(()) };
        let Some(text) = heard? else { return Ok(()) };
        let Some(inner) = observed.upgrade() else { return Ok(()) };
        let mut lines = text.lines();
        let is_own = lines.next() == Some(&cluster.node().to_string());
        for word in lines.map(Word::parse) {
            match word {
                Word::Beat(at) if is_own => {
                    if cluster.has_missed_words() {
                        inner.forget_everything();
                    }
                    cluster.heard(at);
                }
                word if is_own => drop(word),
                word => inner.hear(&word).await,
            }
        }
    }
}

/// A node is gone, or this one was taken for dead. What it committed and could not tell nobody knows; what it held is free.
async fn somebody_is_gone(inner: &Inner) {
    let freed = async {
        inner.records.release_all().await?;
        inner.records.abandon_attachments(inner.clock.now()).await
    };
    if let Err(error) = freed.await {
        tracing::warn!(%error, "what a node held that is gone could not be freed; whoever claims it gets it");
    }
    inner.forget_everything();
}

/// Cuts what is being read and has ended, where the word of that did not come.
async fn end_what_is_over(inner: &Inner) -> Result<(), RecordsError> {
    let running: Vec<(Mxc, Basis)> = inner.lives.running();
    if running.is_empty() {
        return Ok(());
    }
    for (mxc, basis) in inner.records.transfers_over(&running).await? {
        if inner.lives.end_of(&mxc, &basis) {
            tracing::debug!(media = %mxc, "it has ended, and this node was not told");
            inner.media.invalidate(&mxc);
            inner.waiting.call(&mxc);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
