//! What is arriving at this moment: bytes that can be read already, and requests that can be cut.
//!
//! In memory only, and only for this process: what has to survive it is in the records. An entry is there while a
//! request brings an upload, and for a while after a resumable one was interrupted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tintype_domain::Mxc;
use tintype_storage::blobs::Growing;
use tokio_util::sync::CancellationToken;

/// An upload of which there is something to read.
#[derive(Debug)]
pub struct Arriving {
    /// The `Content-Type` its sender gave, byte for byte.
    pub content_type: Vec<u8>,
    /// The file name its sender gave.
    pub filename: Option<String>,
    /// What tells this attempt from every other one: its bytes may end up as those of another.
    pub attempt: u64,
    /// Its bytes.
    pub growing: Arc<Growing>,
}

/// A request that brings an upload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    /// Cancelled by whoever wants to go on in its place.
    pub(crate) cut: CancellationToken,
    /// Cancelled when it has given the reservation back.
    pub(crate) ended: CancellationToken,
}

#[derive(Default)]
struct Entry {
    arriving: Option<Arc<Arriving>>,
    running: Option<Running>,
    /// How many requests have brought something: tells an interruption that is over from one that lasts.
    requests: u64,
}

/// All that is arriving.
#[derive(Default)]
pub(crate) struct Arrivals(Mutex<HashMap<Mxc, Entry>>);

impl Arrivals {
    /// What can be read of this media already.
    pub(crate) fn arriving(&self, mxc: &Mxc) -> Option<Arc<Arriving>> {
        self.entries().get(mxc)?.arriving.clone()
    }

    /// The resumable request that brings this media, if there is one.
    pub(crate) fn running(&self, mxc: &Mxc) -> Option<Running> {
        self.entries().get(mxc)?.running.clone()
    }

    /// A resumable request begins.
    pub(crate) fn begins(&self, mxc: &Mxc, running: &Running) {
        let mut entries = self.entries();
        let entry = entries.entry(mxc.clone()).or_default();
        entry.running = Some(running.clone());
        entry.requests += 1;
    }

    /// From here on there is something to read.
    pub(crate) fn can_be_read(&self, mxc: &Mxc, arriving: &Arc<Arriving>) {
        self.entries().entry(mxc.clone()).or_default().arriving = Some(Arc::clone(arriving));
    }

    /// The request is over, and another one may bring the rest: readers are held. Returns the number of the
    /// interruption for [`Arrivals::give_up`].
    pub(crate) fn interrupted(&self, mxc: &Mxc) -> u64 {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(mxc) else { return 0 };
        entry.running = None;
        let requests = entry.requests;
        if entry.arriving.is_none() {
            entries.remove(mxc);
        }
        requests
    }

    /// Nothing came since that interruption: readers are let go.
    pub(crate) fn give_up(&self, mxc: &Mxc, interruption: u64) {
        let mut entries = self.entries();
        if entries.get(mxc).is_some_and(|entry| entry.running.is_none() && entry.requests == interruption) {
            break_off(entries.remove(mxc));
        }
    }

    /// It will never be whole: readers are let go.
    pub(crate) fn broke_off(&self, mxc: &Mxc) {
        break_off(self.entries().remove(mxc));
    }

    /// It is recorded: readers get its end.
    pub(crate) fn finished(&self, mxc: &Mxc) {
        if let Some(arriving) = self.entries().remove(mxc).and_then(|entry| entry.arriving) {
            arriving.growing.finish();
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Mxc, Entry>> {
        // Every change under this lock is whole before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn break_off(entry: Option<Entry>) {
    if let Some(arriving) = entry.and_then(|entry| entry.arriving) {
        arriving.growing.break_off();
    }
}
