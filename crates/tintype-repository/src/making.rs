//! Who makes a thumbnail: one node at a time, and there one request at a time.
//!
//! What is remembered is made once for all who ask for it at the same time by the cache that remembers it. This is for what is
//! not: because it may be gone at any moment, because this node may have missed a word, or because another node makes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tintype_storage::records::ThumbnailKey;
use tokio::sync::{Mutex as Turnstile, OwnedMutexGuard};

use crate::{Lease, Repository, elsewhere::Leased, thumbnail::ThumbnailsError};

/// The thumbnails that are being made here.
#[derive(Debug, Default)]
pub(crate) struct Making(Mutex<HashMap<ThumbnailKey, Weak<Turnstile<()>>>>);

/// The right to make a thumbnail, until this is dropped.
pub(crate) struct Turn {
    repository: Repository,
    guard: Option<OwnedMutexGuard<()>>,
    lease: Option<Lease>,
    has_waited: bool,
}

impl Making {
    /// Where those take their turn who want this thumbnail.
    fn of(&self, key: &ThumbnailKey) -> Arc<Turnstile<()>> {
        let mut turns = self.turns();
        if let Some(turnstile) = turns.get(key).and_then(Weak::upgrade) {
            return turnstile;
        }
        let turnstile = Arc::default();
        turns.insert(key.clone(), Arc::downgrade(&turnstile));
        turnstile
    }

    /// Forgets those that nobody makes or waits for any more.
    fn tidy(&self) {
        self.turns().retain(|_, turnstile| turnstile.strong_count() > 0);
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<ThumbnailKey, Weak<Turnstile<()>>>> {
        // Every change under this lock is whole before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// The right to make this thumbnail.
    ///
    /// # Errors
    /// [`ThumbnailsError::Elsewhere`] if another node makes it; others if the records fail.
    pub(crate) async fn turn_to_make(&self, key: &ThumbnailKey) -> Result<Turn, ThumbnailsError> {
        let turnstile = self.0.making.of(key);
        let mut turn = Turn { repository: self.clone(), guard: None, lease: None, has_waited: false };
        let guard = if let Ok(guard) = Arc::clone(&turnstile).try_lock_owned() {
            guard
        } else {
            turn.has_waited = true;
            turnstile.lock_owned().await
        };
        turn.guard = Some(guard);
        let ThumbnailKey { mxc, width, height, method } = key;
        match self.lease(&format!("thumbnail:{mxc} {width}x{height} {}", method.as_str())).await? {
            Leased::Here(lease) => turn.lease = lease,
            Leased::Elsewhere(node) => return Err(ThumbnailsError::Elsewhere(self.elsewhere(node, None))),
        }
        Ok(turn)
    }
}

impl Turn {
    /// Whether somebody may have made it since it was looked for.
    pub(crate) fn is_late(&self) -> bool {
        self.has_waited || self.lease.is_some()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The lease first: whoever has the turn next takes it again.
        drop((self.lease.take(), self.guard.take()));
        self.repository.0.making.tidy();
    }
}

#[cfg(test)]
mod tests {
    use tintype_storage::records::ThumbnailMethod;

    use super::*;

    fn key(width: u32) -> ThumbnailKey {
        let mxc = "mxc://localhost/media".parse().unwrap();
        ThumbnailKey { mxc, width, height: 1, method: ThumbnailMethod::Scale }
    }

    #[tokio::test]
    async fn who_wants_the_same_waits_and_nothing_is_left_of_it() {
        let turns = Making::default();
        let first = turns.of(&key(1)).lock_owned().await;

        assert!(turns.of(&key(1)).try_lock_owned().is_err());
        assert!(turns.of(&key(2)).try_lock_owned().is_ok());
        turns.tidy();
        assert_eq!(turns.turns().len(), 1);
        drop(first);
        turns.tidy();
        assert!(turns.turns().is_empty());
    }
}
