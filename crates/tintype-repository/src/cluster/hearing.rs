//! Whether this node hears what the others tell.
//!
//! It tells itself every second what time it is, and hears that after all that was committed before. So the time that it
//! heard last is the time up to which it knows everything; where that is too long ago, whatever it remembers may be wrong.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How old what this node knows may be.
pub(super) const DEAF_AFTER: Duration = Duration::from_secs(3);

/// Nothing was heard yet, or something was missed.
const NEVER: u64 = u64::MAX;

/// What was heard, in milliseconds since this node began.
pub(super) struct Hearing {
    began: Instant,
    heard: AtomicU64,
    /// How often everything that was remembered was forgotten.
    epoch: AtomicU64,
}

impl Hearing {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), heard: AtomicU64::new(NEVER), epoch: AtomicU64::new(0) }
    }

    /// The time, as this node tells it to itself.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// Everything that was told until then is heard.
    pub(super) fn heard(&self, at: u64) {
        self.heard.store(at, Ordering::Release);
    }

    /// Something may have been missed.
    pub(super) fn missed(&self) {
        self.heard.store(NEVER, Ordering::Release);
    }

    /// Whether anything was missed, and nothing heard since.
    pub(super) fn has_missed(&self) -> bool {
        self.heard.load(Ordering::Acquire) == NEVER
    }

    /// Whether what is remembered may be wrong.
    pub(super) fn is_deaf(&self) -> bool {
        let heard = self.heard.load(Ordering::Acquire);
        heard == NEVER || u128::from(self.now().saturating_sub(heard)) > DEAF_AFTER.as_millis()
    }

    /// How often everything was forgotten.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Everything is about to be forgotten: what was looked up before is not to be remembered.
    pub(super) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_deaf_until_it_hears_itself_and_after_it_missed_something() {
        let hearing = Hearing::new();
        assert!(hearing.is_deaf());

        hearing.heard(hearing.now());
        assert!(!hearing.is_deaf());

        hearing.missed();
        assert!(hearing.is_deaf());
    }

    #[test]
    fn what_was_heard_too_long_ago_is_not_enough() {
        let began = Instant::now().checked_sub(2 * DEAF_AFTER).unwrap();
        let hearing = Hearing { began, heard: AtomicU64::new(0), epoch: AtomicU64::new(0) };

        assert!(hearing.is_deaf());
        hearing.heard(hearing.now() - 100);
        assert!(!hearing.is_deaf());
    }
}
