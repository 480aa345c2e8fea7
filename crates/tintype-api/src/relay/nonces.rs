//! Envelopes that were used, so that none is used twice.
//!
//! Only what was sealed with the cluster's secret comes here, so nobody else can fill it.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::envelope::{EnvelopeError, Nonce, TOLERANCE};

/// For how long an envelope may be used: it may come from the future as well as from the past.
const LIFETIME: Duration = Duration::from_secs(2 * TOLERANCE.as_secs() + 1);

/// Nonces of the last minute, and of the one before.
#[derive(Debug)]
pub(super) struct Nonces(Mutex<Generations>);

#[derive(Debug)]
struct Generations {
    young: HashSet<Nonce>,
    old: HashSet<Nonce>,
    since: Instant,
}

impl Nonces {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Generations { young: HashSet::new(), old: HashSet::new(), since: Instant::now() }))
    }

    /// Uses this one.
    ///
    /// # Errors
    /// [`EnvelopeError::Repeated`] if it was used before.
    pub(super) fn take(&self, nonce: Nonce) -> Result<(), EnvelopeError> {
        // Every change under this lock is whole before anything in it could panic.
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.since.elapsed() > LIFETIME {
            generations.old = std::mem::take(&mut generations.young);
            generations.since = Instant::now();
        }
        if generations.old.contains(&nonce) || !generations.young.insert(nonce) {
            return Err(EnvelopeError::Repeated);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_used_once_for_as_long_as_it_could_be_believed() {
        let nonces = Nonces::new();
        nonces.take(1).unwrap();

        assert_eq!(nonces.take(1), Err(EnvelopeError::Repeated));
        for _ in 0..6 {
            advance(Duration::from_secs(10)).await;
            assert_eq!(nonces.take(1), Err(EnvelopeError::Repeated));
        }
        nonces.take(2).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_would_believe_any_more_is_forgotten() {
        let nonces = Nonces::new();
        nonces.take(1).unwrap();
        for nonce in 2..6 {
            advance(Duration::from_secs(62)).await;
            nonces.take(nonce).unwrap();
        }

        let generations = nonces.0.lock().unwrap();
        assert_eq!((generations.young.len(), generations.old.len()), (1, 1));
    }
}
