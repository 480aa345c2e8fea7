//! The runtime of connections to other servers: theirs are not ours to wait for, so they have threads of their own.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use super::cores;

/// Runs until it is dropped, which waits for nothing.
pub(super) struct Elsewhere(Option<Runtime>);

impl Elsewhere {
    /// Starts the threads.
    ///
    /// # Errors
    /// Those of the system when it gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(cores().get()).thread_name("federation").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is there until this is dropped").handle().clone()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
