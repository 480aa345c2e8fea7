//! What the nodes of a cluster tell each other of the permissions they gave, so that a limit holds for all of them together.
//!
//! Each node gives permissions from its own buckets at once, and some moments later takes from them what the others gave. What
//! is not there to be taken is owed: nothing is given from a bucket that owes, and what comes back pays first. So what all nodes
//! give in the long run is the rate of one, and what they give beyond it is what they had before they heard of each other.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Action;

/// Buckets that are told of at once. What was taken from more of them in a quarter of a second is not told.
const MAX_TOLD: usize = 16 * 1024;

/// Buckets that may owe at once; what others would owe is forgiven.
const MAX_OWING: usize = 64 * 1024;

/// The version of the message.
const VERSION: u8 = 1;

/// Bytes that a bucket takes in the message: the action, the key, and how many.
const ENTRY: usize = 1 + 8 + 4;

/// The largest message, in bytes.
pub const MAX_TAKEN_MESSAGE: usize = 1 + MAX_TOLD * ENTRY;

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Bucket {
    pub(super) action: Action,
    pub(super) key: u64,
}

/// A message of another node that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of what was taken")]
pub struct MalformedTaken;

/// What is to be told, and what is owed.
#[derive(Default)]
pub(super) struct Shared {
    taken: Mutex<HashMap<Bucket, u32>>,
    owed: Mutex<HashMap<Bucket, u32>>,
}

impl Shared {
    /// One permission was given here.
    pub(super) fn took(&self, bucket: Bucket) {
        let mut taken = locked(&self.taken);
        let is_full = taken.len() >= MAX_TOLD;
        match taken.entry(bucket) {
            Entry::Occupied(mut count) => *count.get_mut() = count.get().saturating_add(1),
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(place) => drop(place.insert(1)),
        }
    }

    /// What was given here since this was last asked; empty where it was nothing.
    pub(super) fn message(&self) -> Vec<u8> {
        let taken = std::mem::take(&mut *locked(&self.taken));
        if taken.is_empty() {
            return Vec::new();
        }
        let mut message = Vec::with_capacity(1 + taken.len() * ENTRY);
        message.push(VERSION);
        for (Bucket { action, key }, count) in taken {
            message.push(action.number());
            message.extend(key.to_be_bytes());
            message.extend(count.to_be_bytes());
        }
        message
    }

    /// What another node gave is owed here, no more than `at_most` says of each action.
    pub(super) fn hear(&self, message: &[u8], at_most: impl Fn(Action) -> u32) -> Result<(), MalformedTaken> {
        let (&version, entries) = message.split_first().ok_or(MalformedTaken)?;
        if version != VERSION || entries.len() > MAX_TOLD * ENTRY {
            return Err(MalformedTaken);
        }
        let (entries, []) = entries.as_chunks::<ENTRY>() else { return Err(MalformedTaken) };
        let mut owed = locked(&self.owed);
        for &[action, a, b, c, d, e, f, g, h, i, j, k, l] in entries {
            // Another version may limit what this one does not know.
            let Some(action) = Action::numbered(action) else { continue };
            let bucket = Bucket { action, key: u64::from_be_bytes([a, b, c, d, e, f, g, h]) };
            let count = u32::from_be_bytes([i, j, k, l]);
            let is_full = owed.len() >= MAX_OWING;
            match owed.entry(bucket) {
                Entry::Occupied(mut debt) => *debt.get_mut() = debt.get().saturating_add(count).min(at_most(action)),
                Entry::Vacant(_) if is_full => {}
                Entry::Vacant(place) => drop(place.insert(count.min(at_most(action)))),
            }
        }
        Ok(())
    }

    /// Has a bucket pay what it owes, with what `pay` finds in it. Returns what it still owes.
    pub(super) fn settle(&self, bucket: Bucket, pay: impl FnOnce(u32) -> u32) -> u32 {
        let mut owed = locked(&self.owed);
        let Entry::Occupied(mut debt) = owed.entry(bucket) else { return 0 };
        let left = debt.get().saturating_sub(pay(*debt.get()));
        if left == 0 {
            debt.remove();
        } else {
            *debt.get_mut() = left;
        }
        left
    }

    /// The same for all buckets: those that nobody asks for pay, too.
    pub(super) fn settle_all(&self, pay: impl Fn(Bucket, u32) -> u32) {
        locked(&self.owed).retain(|bucket, owes| {
            *owes = owes.saturating_sub(pay(*bucket, *owes));
            *owes > 0
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is whole before anything in it could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket = Bucket { action: Action::Download, key: 7 };

    #[test]
    fn what_one_node_took_is_owed_at_another() {
        let (here, there) = (Shared::default(), Shared::default());
        for _ in 0..5 {
            here.took(BUCKET);
        }

        there.hear(&here.message(), |_| 100).unwrap();

        assert_eq!(there.settle(BUCKET, |owed| owed.min(3)), 2);
        assert_eq!(there.settle(BUCKET, |owed| owed), 0);
        assert_eq!(there.settle(BUCKET, |_| unreachable!("it owes nothing any more")), 0);
        assert!(here.message().is_empty(), "it is told once");
    }

    #[test]
    fn nobody_owes_for_ever() {
        let (here, there) = (Shared::default(), Shared::default());
        for _ in 0..50 {
            here.took(BUCKET);
        }
        let message = here.message();

        for _ in 0..10 {
            there.hear(&message, |_| 60).unwrap();
        }

        assert_eq!(there.settle(BUCKET, |_| 0), 60);
    }

    #[test]
    fn no_message_is_larger_than_its_limit_and_no_node_owes_without_bound() {
        let (here, there) = (Shared::default(), Shared::default());
        for round in 0..6 {
            for key in 0..2 * MAX_TOLD as u64 {
                here.took(Bucket { action: Action::Upload, key: key << 8 | round });
            }
            let message = here.message();
            assert_eq!(message.len(), MAX_TAKEN_MESSAGE);
            there.hear(&message, |_| 100).unwrap();
        }

        assert_eq!(there.owed.lock().unwrap().len(), MAX_OWING);
        there.settle_all(|_, owed| owed);
        assert!(there.owed.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_message_changes_nothing() {
        let there = Shared::default();
        let too_large = vec![VERSION; MAX_TAKEN_MESSAGE + ENTRY];

        for message in [&b""[..], b"\x02", b"\x01\0\0\0", &too_large] {
            assert_eq!(there.hear(message, |_| 100), Err(MalformedTaken));
        }
        let mut unknown = vec![0; 1 + ENTRY];
        (unknown[0], unknown[1]) = (VERSION, 255);
        there.hear(&unknown, |_| 100).unwrap();

        assert!(there.owed.lock().unwrap().is_empty());
    }
}
