//! What is arriving at this moment: bytes that can be read already, and requests that can be cut.
//!
//! In memory only, and only for this process: what has to survive it is in the records. An entry is there while a
//! request brings an upload, and for a while after a resumable one was interrupted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tintype_domain::{Audience, Lifetime, Mxc};
use tintype_storage::blobs::Growing;
use tokio_util::sync::CancellationToken;

use crate::lives::Life;

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
    /// How long it will live, as far as that is known before it is whole.
    pub lifetime: Lifetime,
    /// For whom it was when it began to arrive. Whom media of ours is attached to meanwhile is in the records.
    pub audience: Audience,
    /// Its life, if it may end.
    pub life: Option<Life>,
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
    /// The number of its last request that brought anything: tells an interruption that is over from one that lasts.
    request: u64,
}

/// All that is arriving.
#[derive(Default)]
pub(crate) struct Arrivals {
    entries: Mutex<HashMap<Mxc, Entry>>,
    /// Requests so far, of all media: an entry may go and come again, and its numbers must not.
    requests: AtomicU64,
}

impl Arrivals {
    /// What can be read of this media already.
    pub(crate) fn arriving(&self, mxc: &Mxc) -> Option<Arc<Arriving>> {
        self.entries().get(mxc)?.arriving.clone()
    }

    /// The resumable request that holds the reservation of this media, if there is one.
    pub(crate) fn running(&self, mxc: &Mxc) -> Option<Running> {
        self.entries().get(mxc)?.running.clone()
    }

    /// A resumable request begins.
    pub(crate) fn begins(&self, mxc: &Mxc, running: &Running) {
        let mut entries = self.entries();
        let entry = entries.entry(mxc.clone()).or_default();
        entry.running = Some(running.clone());
        if entry.request == 0 {
            entry.request = self.next_request();
        }
    }

    /// A resumable request has brought something: the interruption before it is over.
    pub(crate) fn brought(&self, mxc: &Mxc) {
        if let Some(entry) = self.entries().get_mut(mxc) {
            entry.request = self.next_request();
        }
    }

    /// From here on there is something to read.
    pub(crate) fn can_be_read(&self, mxc: &Mxc, arriving: &Arc<Arriving>) {
        let replaced = self.entries().entry(mxc.clone()).or_default().arriving.replace(Arc::clone(arriving));
        if let Some(replaced) = replaced {
            replaced.growing.break_off();
        }
    }

    /// The request brings no more, and another one may bring the rest: readers are held. Returns the number of the
    /// interruption for [`Arrivals::give_up`].
    pub(crate) fn interrupted(&self, mxc: &Mxc) -> Option<u64> {
        self.entries().get(mxc).map(|entry| entry.request)
    }

    /// Nothing came since that interruption: readers are let go.
    pub(crate) fn give_up(&self, mxc: &Mxc, interruption: u64) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(mxc).filter(|entry| entry.request == interruption) {
            entry.break_off();
        }
        forget_unneeded(&mut entries, mxc);
    }

    /// It will never be whole: readers are let go.
    pub(crate) fn broke_off(&self, mxc: &Mxc) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(mxc) {
            entry.break_off();
        }
        forget_unneeded(&mut entries, mxc);
    }

    /// A request has given the reservation back. Until then whoever wants to go on has to find it.
    pub(crate) fn given_back(&self, mxc: &Mxc) {
        forget_unneeded(&mut self.entries(), mxc);
    }

    /// The server stops, and nobody will go on here; or it is not known whether somebody went on elsewhere: all readers that
    /// are held are let go.
    pub(crate) fn give_up_all(&self) {
        self.entries().retain(|_, entry| {
            let is_held = entry.is_held();
            if is_held {
                entry.break_off();
            }
            !is_held
        });
    }

    /// It is recorded: readers get its end.
    pub(crate) fn finished(&self, mxc: &Mxc) {
        if let Some(arriving) = self.entries().remove(mxc).and_then(|entry| entry.arriving) {
            arriving.growing.finish();
        }
    }

    fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Mxc, Entry>> {
        // Every change under this lock is whole before anything in it could panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether it was interrupted and nobody goes on with it.
    fn is_held(&self) -> bool {
        self.request > 0 && self.running.as_ref().is_none_or(|running| running.ended.is_cancelled())
    }

    fn break_off(&mut self) {
        if let Some(arriving) = self.arriving.take() {
            arriving.growing.break_off();
        }
    }
}

/// An entry goes when nobody holds the reservation and there is nothing to read.
fn forget_unneeded(entries: &mut HashMap<Mxc, Entry>, mxc: &Mxc) {
    if let Some(entry) = entries.get_mut(mxc) {
        entry.running.take_if(|running| running.ended.is_cancelled());
        if entry.running.is_none() && entry.arriving.is_none() {
            entries.remove(mxc);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use tempfile::TempDir;
    use tintype_domain::OsRandomness;
    use tintype_storage::blobs::{Files, Incoming};

    use super::*;

    async fn arriving(folder: &Path, attempt: u64) -> (Incoming, Arc<Arriving>) {
        let files = Files::open_shared(folder, Arc::new(OsRandomness)).unwrap();
        let mut incoming = files.receive().await.unwrap();
        incoming.write(Bytes::from_static(b"bytes")).await.unwrap();
        let growing = files.grow(&mut incoming, None).await.unwrap();
        let arriving = Arriving {
            content_type: Vec::new(),
            filename: None,
            attempt,
            growing,
            lifetime: Lifetime::Kept,
            audience: Audience::Everyone,
            life: None,
        };
        (incoming, Arc::new(arriving))
    }

    fn mxc() -> Mxc {
        "mxc://localhost/one".parse().unwrap()
    }

    fn is_read(arrivals: &Arrivals) -> bool {
        arrivals.arriving(&mxc()).is_some()
    }

    /// A resumable request that was interrupted, and the number of its interruption.
    fn interrupted(arrivals: &Arrivals, arriving: &Arc<Arriving>) -> u64 {
        let running = Running::default();
        arrivals.begins(&mxc(), &running);
        arrivals.can_be_read(&mxc(), arriving);
        let interruption = arrivals.interrupted(&mxc()).unwrap();
        running.ended.cancel();
        arrivals.given_back(&mxc());
        interruption
    }

    #[tokio::test]
    async fn a_request_is_found_until_it_has_given_the_reservation_back() {
        let folder = TempDir::new().unwrap();
        let (_incoming, arriving) = arriving(folder.path(), 1).await;
        let arrivals = Arrivals::default();
        let running = Running::default();
        arrivals.begins(&mxc(), &running);
        arrivals.can_be_read(&mxc(), &arriving);

        arrivals.broke_off(&mxc());
        assert!(!is_read(&arrivals));
        assert!(arrivals.running(&mxc()).is_some());

        running.ended.cancel();
        arrivals.given_back(&mxc());
        assert!(arrivals.entries().is_empty());
    }

    #[tokio::test]
    async fn readers_are_let_go_when_nobody_goes_on() {
        let folder = TempDir::new().unwrap();
        let (_incoming, arriving) = arriving(folder.path(), 1).await;
        let arrivals = Arrivals::default();
        let interruption = interrupted(&arrivals, &arriving);
        assert!(is_read(&arrivals));

        arrivals.give_up(&mxc(), interruption);

        assert!(!is_read(&arrivals));
        arriving.growing.reaches(u64::MAX).await;
        assert!(!arriving.growing.is_whole());
        assert!(arrivals.entries().is_empty());
    }

    #[tokio::test]
    async fn only_readers_that_are_held_are_let_go_when_the_server_stops() {
        let folder = TempDir::new().unwrap();
        let (_incoming, arriving) = arriving(folder.path(), 1).await;
        let arrivals = Arrivals::default();
        interrupted(&arrivals, &arriving);
        arrivals.begins(&mxc(), &Running::default());

        arrivals.give_up_all();
        assert!(is_read(&arrivals), "while a request goes on");

        interrupted(&arrivals, &arriving);
        arrivals.give_up_all();
        assert!(!is_read(&arrivals));
    }

    #[tokio::test]
    async fn an_interruption_that_is_over_lets_nobody_go() {
        let folder = TempDir::new().unwrap();
        let (_incoming, arriving) = arriving(folder.path(), 1).await;
        let arrivals = Arrivals::default();
        let over = interrupted(&arrivals, &arriving);

        arrivals.begins(&mxc(), &Running::default());
        arrivals.brought(&mxc());
        arrivals.give_up(&mxc(), over);
        assert!(is_read(&arrivals), "while another request goes on");

        arrivals.interrupted(&mxc());
        arrivals.give_up(&mxc(), over);
        assert!(is_read(&arrivals), "after another interruption");
    }

    #[tokio::test]
    async fn an_interruption_of_another_upload_lets_nobody_go() {
        let folder = TempDir::new().unwrap();
        let (_first, first) = arriving(folder.path(), 1).await;
        let (_second, second) = arriving(folder.path(), 2).await;
        let arrivals = Arrivals::default();
        let of_first = interrupted(&arrivals, &first);
        arrivals.broke_off(&mxc());

        interrupted(&arrivals, &second);
        arrivals.give_up(&mxc(), of_first);

        assert!(is_read(&arrivals));
    }

    #[tokio::test]
    async fn an_interruption_before_there_was_anything_to_read_lets_nobody_go() {
        let folder = TempDir::new().unwrap();
        let (_incoming, arriving) = arriving(folder.path(), 1).await;
        let arrivals = Arrivals::default();
        let running = Running::default();
        arrivals.begins(&mxc(), &running);
        let of_nothing = arrivals.interrupted(&mxc()).unwrap();
        running.ended.cancel();
        arrivals.given_back(&mxc());
        assert!(arrivals.entries().is_empty());

        interrupted(&arrivals, &arriving);
        arrivals.give_up(&mxc(), of_nothing);

        assert!(is_read(&arrivals));
    }

    #[tokio::test]
    async fn what_is_recorded_is_read_to_its_end_and_forgotten() {
        let folder = TempDir::new().unwrap();
        let (_incoming, arriving) = arriving(folder.path(), 1).await;
        let arrivals = Arrivals::default();
        arrivals.begins(&mxc(), &Running::default());
        arrivals.can_be_read(&mxc(), &arriving);

        arrivals.finished(&mxc());

        assert!(arriving.growing.is_whole());
        assert!(arrivals.entries().is_empty());
    }

    #[test]
    fn a_plain_upload_cannot_be_cut() {
        let arrivals = Arrivals::default();

        assert!(arrivals.running(&mxc()).is_none());
        assert_eq!(arrivals.interrupted(&mxc()), None);
    }
}
