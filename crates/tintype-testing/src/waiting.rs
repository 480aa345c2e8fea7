//! A request that is answered later, while the test goes on.

use std::{
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::task::JoinHandle;

/// A request that runs beside the test. Awaiting it gives its answer; dropping it closes its connection.
pub struct Waiting<T>(JoinHandle<T>);

impl<T: Send + 'static> Waiting<T> {
    /// Sends a request.
    pub fn new(request: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(request))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Waiting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|answer| match answer {
            Ok(answer) => answer,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(cancelled) => panic!("the request was given up: {cancelled}"),
            },
        })
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
