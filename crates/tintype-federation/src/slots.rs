//! How many connections one server can have of us. Without this, a slow one that much is asked of takes all of our sockets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::OutboundError;

/// How many connections to one server there are at once.
const MAX_CONNECTIONS: usize = 32;

/// The connections of all servers, by their names.
#[derive(Clone, Default)]
pub struct Slots(Arc<Mutex<HashMap<String, Weak<Semaphore>>>>);

impl Slots {
    /// Waits until one more connection to this server may be made, which gives back what is returned when it ends.
    pub async fn take(&self, server: &str) -> Result<OwnedSemaphorePermit, OutboundError> {
        let slots = self.of(server);
        // Nobody closes it.
        slots.acquire_owned().await.map_err(|_| OutboundError::Stopped)
    }

    /// Whether no more connection to this server may be made now.
    pub fn are_taken(&self, server: &str) -> bool {
        self.of(server).available_permits() == 0
    }

    fn of(&self, server: &str) -> Arc<Semaphore> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = servers.get(server).and_then(Weak::upgrade) {
            return slots;
        }
        servers.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        servers.insert(server.to_owned(), Arc::downgrade(&slots));
        slots
    }
}
