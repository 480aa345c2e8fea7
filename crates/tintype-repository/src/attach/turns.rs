//! Requests of one user to one path take turns: a retry waits for what it repeats.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tintype_domain::{ContentHash, ContentHasher, User};
use tokio::sync::OwnedMutexGuard;

use super::AttachRequest;

type Bench = Mutex<HashMap<ContentHash, Arc<tokio::sync::Mutex<()>>>>;

/// Who attaches media at the moment, and who waits for it.
#[derive(Default)]
pub(crate) struct Turns(Arc<Bench>);

/// The turn of a request, until it is dropped.
pub(crate) struct Turn {
    _turn: OwnedMutexGuard<()>,
    _place: Place,
}

/// A request that has its turn, or waits for it.
struct Place {
    bench: Arc<Bench>,
    key: ContentHash,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl Turns {
    /// Waits for the turn of this request.
    pub(crate) async fn take(&self, user: &User, request: &AttachRequest) -> Turn {
        let (place, lock) = self.enter(key(user, request));
        Turn { _turn: lock.lock_owned().await, _place: place }
    }

    fn enter(&self, key: ContentHash) -> (Place, Arc<tokio::sync::Mutex<()>>) {
        let mut bench = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(bench.entry(key).or_default());
        (Place { bench: Arc::clone(&self.0), key, lock: Some(Arc::clone(&lock)) }, lock)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.lock.take());
        // Only the bench has it: nobody is there, and nobody can come while it is locked.
        if bench.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            bench.remove(&self.key);
        }
    }
}

fn key(user: &User, request: &AttachRequest) -> ContentHash {
    let mut hasher = ContentHasher::default();
    let device = user.device_id.as_deref().unwrap_or_default();
    for part in [user.user_id.as_str(), device, &request.method, &request.path] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt as _;
    use tintype_domain::UserId;
    use tintype_storage::records::AttachmentTarget;

    use super::*;

    fn alice() -> User {
        let user_id = UserId::parse("@alice:example.org").unwrap();
        User { user_id, device_id: Some("PHONE".to_owned()), guest: false, admin: false }
    }

    fn request(path: &str) -> AttachRequest {
        AttachRequest {
            method: "PUT".to_owned(),
            path: path.to_owned(),
            media: BTreeSet::new(),
            body: ContentHash::of(b""),
            content: None,
            target: AttachmentTarget::NewRoom,
        }
    }

    #[tokio::test]
    async fn the_same_request_waits_and_another_one_does_not() {
        let turns = Turns::default();
        let first = turns.take(&alice(), &request("/1")).await;

        assert!(turns.take(&alice(), &request("/1")).now_or_never().is_none());
        assert!(turns.take(&alice(), &request("/2")).now_or_never().is_some());
        drop(first);

        assert!(turns.take(&alice(), &request("/1")).now_or_never().is_some());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_have_gone() {
        let turns = Turns::default();
        let first = turns.take(&alice(), &request("/1")).await;
        let (alice, request) = (alice(), request("/1"));
        let mut gives_up = Box::pin(turns.take(&alice, &request));
        assert!(gives_up.as_mut().now_or_never().is_none());

        drop(first);
        drop(gives_up);

        assert!(turns.0.lock().unwrap().is_empty());
    }
}
