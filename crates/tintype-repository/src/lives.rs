//! What is being read of ephemeral media, so that it can be cut when the media is deleted (MSC4425).
//!
//! Whoever reads enters first and looks into the records afterwards; whoever deletes commits first and ends afterwards. So
//! a reader either finds nothing, or is here to be ended. In memory and of this process only: the records decide what
//! there is, and other nodes say when that changes (see `telling`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tintype_domain::Mxc;
use tintype_storage::records::Basis;
use tokio_util::sync::CancellationToken;

/// Entries after which those that nobody reads any more are looked for.
const TIDY_AT: usize = 1024;

/// The life of a piece of ephemeral media, shared by all who read it.
#[derive(Debug, Clone)]
pub struct Life(Arc<Token>);

#[derive(Debug, Default)]
struct Token {
    over: CancellationToken,
    /// What it goes on for, as far as that can be asked for again.
    basis: Mutex<Option<Basis>>,
}

impl Token {
    fn basis(&self) -> MutexGuard<'_, Option<Basis>> {
        self.basis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    /// Whether it has ended: not one byte more is to be given.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.is_cancelled()
    }

    /// Resolves when it ends.
    pub(crate) async fn over(&self) {
        self.0.over.cancelled().await;
    }

    /// This is what was found when it was entered for. Who found it otherwise before reads what is not so any more.
    pub(crate) fn rests_on(&self, basis: Basis) {
        let mut known = self.0.basis();
        match &*known {
            Some(before) if *before != basis && *before != Basis::Arriving => self.0.over.cancel(),
            _ => *known = Some(basis),
        }
    }
}

/// All that are read.
#[derive(Default)]
pub(crate) struct Lives {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    tokens: HashMap<Mxc, Weak<Token>>,
    tidy_at: usize,
}

impl Lives {
    /// Enters: from here on the end of this media is noticed.
    pub(crate) fn enter(&self, mxc: &Mxc) -> Life {
        let mut entries = self.entries();
        if let Some(token) = entries.tokens.get(mxc).and_then(Weak::upgrade).filter(|token| !token.over.is_cancelled())
        {
            return Life(token);
        }
        if entries.tokens.len() >= entries.tidy_at.max(TIDY_AT) {
            entries.tokens.retain(|_, token| token.strong_count() > 0);
            entries.tidy_at = 2 * entries.tokens.len();
        }
        let token = Arc::<Token>::default();
        entries.tokens.insert(mxc.clone(), Arc::downgrade(&token));
        Life(token)
    }

    /// Ends all that are read of this media. Whoever enters now looks into records where it is gone.
    pub(crate) fn end(&self, mxc: &Mxc) {
        let token = self.entries().tokens.remove(mxc).and_then(|token| token.upgrade());
        if let Some(token) = token {
            token.over.cancel();
        }
    }

    /// What is read at this moment that rests on something.
    pub(crate) fn running(&self) -> Vec<(Mxc, Basis)> {
        let entries = self.entries();
        let running = entries.tokens.iter().filter_map(|(mxc, token)| {
            let basis = token.upgrade()?.basis().clone()?;
            Some((mxc.clone(), basis))
        });
        running.collect()
    }

    /// Ends those who read this media for this reason, and tells whether there are any.
    pub(crate) fn end_of(&self, mxc: &Mxc, basis: &Basis) -> bool {
        let token = self.entries().tokens.get(mxc).and_then(Weak::upgrade);
        let Some(token) = token.filter(|token| token.basis().as_ref() == Some(basis)) else { return false };
        token.over.cancel();
        true
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
