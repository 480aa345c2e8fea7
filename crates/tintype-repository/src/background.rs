//! Work that does not end with the request that began it.
//!
//! It runs on the runtime that opened the repository, not on the one of a connection, which is gone when its connections
//! are. [`Background::close`] waits for it, so that nothing is left half done by an orderly stop.

use std::{future::Future, sync::Weak};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::Inner;

#[derive(Clone)]
pub(crate) struct Background {
    runtime: Handle,
    unfinished: TaskTracker,
    closing: CancellationToken,
}

impl Background {
    /// On the runtime that this is called on.
    pub(crate) fn here() -> Self {
        Self { runtime: Handle::current(), unfinished: TaskTracker::new(), closing: CancellationToken::new() }
    }

    /// Runs work to its end, whoever goes away.
    pub(crate) fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.unfinished.spawn_on(work, &self.runtime)
    }

    /// Runs work that may be left undone when the server stops. It must not keep the repository alive: see [`Weak`].
    pub(crate) fn while_open(&self, work: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.runtime.spawn(async move { closing.run_until_cancelled(work).await });
    }

    /// Resolves when the server stops.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Whether the server stops.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Ends what may be left undone, and waits for the rest.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.unfinished.close();
        self.unfinished.wait().await;
    }
}

/// What work that is run [`Background::while_open`] knows of its repository.
pub(crate) type Observed = Weak<Inner>;
