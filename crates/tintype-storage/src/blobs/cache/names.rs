//! Under which number a blob is kept, and with which key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tintype_domain::Randomness;

use super::sealed::Key;
use crate::blobs::Location;

/// A number that is used once.
pub(super) type Name = u128;

/// Fewer blobs than this are not looked through for those that are not kept any more.
const FEW: usize = 4096;

/// Which blob has which number. It is all that leads to one.
pub(super) struct Names {
    known: Mutex<Known>,
    randomness: Arc<dyn Randomness>,
}

struct Known {
    names: HashMap<Location, (Name, Arc<Key>)>,
    /// At so many they are looked through.
    look_through_at: usize,
}

impl Names {
    pub(super) fn new(randomness: Arc<dyn Randomness>) -> Self {
        Self { known: Mutex::new(Known { names: HashMap::new(), look_through_at: FEW }), randomness }
    }

    /// The number and the key of a blob, which are made if it has none. Now and then those are removed that are not kept
    /// any more; what is being loaded and goes with them is loaded again.
    pub(super) fn of(&self, location: &Location, is_kept: impl Fn(&Name) -> bool) -> (Name, Arc<Key>) {
        let mut known = self.known();
        if let Some((name, key)) = known.names.get(location) {
            return (*name, Arc::clone(key));
        }
        if known.names.len() >= known.look_through_at {
            known.names.retain(|_, (name, _)| is_kept(name));
            known.look_through_at = (2 * known.names.len()).max(FEW);
        }
        let mut name = [0; 16];
        self.randomness.fill(&mut name);
        let (name, key) = (Name::from_le_bytes(name), Arc::new(Key::random(&*self.randomness)));
        known.names.insert(location.clone(), (name, Arc::clone(&key)));
        (name, key)
    }

    /// Whether the blob still has this number.
    pub(super) fn is(&self, location: &Location, name: Name) -> bool {
        self.known().names.get(location).is_some_and(|(now, _)| *now == name)
    }

    /// Forgets it; the number that it had.
    pub(super) fn forget(&self, location: &Location) -> Option<Name> {
        self.known().names.remove(location).map(|(name, _)| name)
    }

    /// Forgets all; the numbers that they had.
    pub(super) fn forget_all(&self) -> Vec<Name> {
        self.known().names.drain().map(|(_, (name, _))| name).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tintype_domain::{ContentHash, OsRandomness};

    use super::*;

    fn location() -> Location {
        Location::new(ContentHash::of(b"abc"), &OsRandomness)
    }

    #[test]
    fn a_blob_keeps_its_number_until_it_is_forgotten() {
        let (names, location) = (Names::new(Arc::new(OsRandomness)), location());

        let (first, _) = names.of(&location, |_| true);
        assert_eq!(names.of(&location, |_| true).0, first);
        assert!(names.is(&location, first));
        assert_eq!(names.forget(&location), Some(first));

        assert!(!names.is(&location, first));
        assert_ne!(names.of(&location, |_| true).0, first);
    }

    #[test]
    fn there_are_not_many_more_numbers_than_blobs_that_are_kept() {
        let names = Names::new(Arc::new(OsRandomness));

        for _ in 0..3 * FEW {
            names.of(&location(), |_| false);
        }

        assert!(names.known().names.len() <= FEW);
    }
}
