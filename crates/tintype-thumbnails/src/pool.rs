//! Runs decoders on threads of their own: they take tens of milliseconds of processor time, so they must
//! neither hold up the async threads nor share the blocking pool with file reads.
//!
//! The queue is short and refuses at once when it is full: a client that is told to come back is better off
//! than one that waits in a queue that grows. Work whose asker has gone is not begun.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// Why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Every thread is busy and the queue is full: come back later.
    #[error("too many pictures are waiting to be worked on")]
    Full,
    /// The job panicked. Its thread lives on.
    #[error("the work on the picture failed")]
    Panicked,
}

/// A fixed number of threads and a bounded queue. Its threads end when it is dropped.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    threads: usize,
    queue: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<dyn Job>>,
    running: usize,
    ending: bool,
}

impl Pool {
    /// `threads` jobs run at once, and up to `queue` more wait.
    ///
    /// # Errors
    ///
    /// Those of the system when it gives no thread.
    pub fn new(threads: NonZeroUsize, queue: usize) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::new(Shared {
                threads: threads.get(),
                queue,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        };
        for _ in 0..threads.get() {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new().name("thumbnails".into()).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// What `job` returns, once a thread has come to it. A future that is dropped before that takes its job
    /// with it; a job that has begun runs to its end.
    ///
    /// # Errors
    ///
    /// [`PoolError::Full`] at once, without waiting; [`PoolError::Panicked`] when `job` panics.
    pub async fn run<T, F>(&self, job: F) -> Result<T, PoolError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (asker, answer) = oneshot::channel();
        self.shared.accept(Box::new(Asked { job: Some(job), result: None, asker }))?;
        answer.await.unwrap_or(Err(PoolError::Panicked))
    }

    /// Jobs that wait for a thread, those included whose asker has gone unnoticed so far.
    pub fn queued(&self) -> usize {
        self.shared.state().waiting.len()
    }

    /// Jobs that a thread is working on.
    pub fn running(&self) -> usize {
        self.shared.state().running
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().ending = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, job: Box<dyn Job>) -> Result<(), PoolError> {
        let mut state = self.state();
        let room = self.queue + (self.threads - state.running);
        if state.waiting.len() >= room {
            state.waiting.retain(|job| !job.is_abandoned());
        }
        if state.waiting.len() >= room {
            return Err(PoolError::Full);
        }
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if state.ending {
                return;
            }
            let Some(mut job) = state.waiting.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if job.is_abandoned() {
                continue;
            }
            state.running += 1;
            drop(state);
            job.work();
            state = self.state();
            state.running -= 1;
            drop(state);
            // Only now, so that whoever has an answer sees its thread free.
            job.answer();
            state = self.state();
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("running", &self.running)
            .field("ending", &self.ending)
            .finish()
    }
}

/// A job of any type.
trait Job: Send {
    fn is_abandoned(&self) -> bool;
    fn work(&mut self);
    fn answer(self: Box<Self>);
}

struct Asked<F, T> {
    job: Option<F>,
    result: Option<Result<T, PoolError>>,
    asker: oneshot::Sender<Result<T, PoolError>>,
}

impl<F, T> Job for Asked<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn is_abandoned(&self) -> bool {
        self.asker.is_closed()
    }

    fn work(&mut self) {
        // A job owns what it works on, so a panic leaves nothing half done behind.
        self.result = self.job.take().map(|job| catch_unwind(AssertUnwindSafe(job)).map_err(|_| PoolError::Panicked));
    }

    fn answer(self: Box<Self>) {
        let Self { result, asker, .. } = *self;
        // The asker may have gone meanwhile.
        if let Some(result) = result {
            drop(asker.send(result));
        }
    }
}
