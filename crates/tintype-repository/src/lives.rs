//! What is being read of ephemeral media, so that it can be cut when the media is deleted (MSC4425).
//!
//! Whoever reads enters first and looks into the records afterwards; whoever deletes commits first and ends afterwards. So
//! a reader either finds nothing, or is here to be ended. In memory and of this process only: the records decide what
//! there is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tintype_domain::Mxc;
use tokio_util::sync::CancellationToken;

/// Entries after which those that nobody reads any more are looked for.
const TIDY_AT: usize = 1024;

/// The life of a piece of ephemeral media, shared by all who read it.
#[derive(Debug, Clone)]
pub struct Life(Arc<CancellationToken>);

impl Life {
    /// Whether it has ended: not one byte more is to be given.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it ends.
    pub(crate) async fn over(&self) {
        self.0.cancelled().await;
    }
}

/// All that are read.
#[derive(Default)]
pub(crate) struct Lives {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    tokens: HashMap<Mxc, Weak<CancellationToken>>,
    tidy_at: usize,
}

impl Lives {
    /// Enters: from here on the end of this media is noticed.
    pub(crate) fn enter(&self, mxc: &Mxc) -> Life {
        let mut entries = self.entries();
        if let Some(token) = entries.tokens.get(mxc).and_then(Weak::upgrade) {
            return Life(token);
        }
        if entries.tokens.len() >= entries.tidy_at.max(TIDY_AT) {
            entries.tokens.retain(|_, token| token.strong_count() > 0);
            entries.tidy_at = 2 * entries.tokens.len();
        }
        let token = Arc::new(CancellationToken::new());
        entries.tokens.insert(mxc.clone(), Arc::downgrade(&token));
        Life(token)
    }

    /// Ends all that are read of this media. Whoever enters now looks into records where it is gone.
    pub(crate) fn end(&self, mxc: &Mxc) {
        let token = self.entries().tokens.remove(mxc).and_then(|token| token.upgrade());
        if let Some(token) = token {
            token.cancel();
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every change under this lock is whole before anything in it could panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mxc(id: usize) -> Mxc {
        format!("mxc://localhost/{id}").parse().unwrap()
    }

    #[test]
    fn all_who_entered_before_the_end_are_ended_and_nobody_after_it() {
        let lives = Lives::default();
        let (first, second) = (lives.enter(&mxc(1)), lives.enter(&mxc(1)));
        let other = lives.enter(&mxc(2));

        lives.end(&mxc(1));
        let later = lives.enter(&mxc(1));

        assert!(first.is_over() && second.is_over());
        assert!(!other.is_over() && !later.is_over());
    }

    #[test]
    fn what_nobody_reads_is_forgotten() {
        let lives = Lives::default();
        let read = lives.enter(&mxc(0));
        for id in 1..10 * TIDY_AT {
            lives.enter(&mxc(id));
        }

        assert!(lives.entries().tokens.len() <= TIDY_AT);
        lives.end(&mxc(0));
        assert!(read.is_over());
    }
}
