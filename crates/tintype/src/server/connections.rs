//! Connections: accepted up to a number, given up when their peer does nothing, and finished in order at the end.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tintype_api::Peer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    listener::{Listener, Stream},
    stall::Stalling,
};

/// How long to wait after a failed accept: mostly, the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; more of them wait to be accepted.
    pub(super) max_connections: usize,
    /// Time for a request's head, and for a connection between requests.
    pub(super) head: Duration,
    /// Time that a peer may read nothing.
    pub(super) stall: Duration,
}

pub(super) struct Connections {
    router: Router,
    limits: Limits,
    free: Arc<Semaphore>,
    open: Gauge,
    tasks: TaskTracker,
    /// No new requests: each connection closes after the one it is serving.
    draining: CancellationToken,
    /// No more anything.
    cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        Self {
            router,
            limits,
            free: Arc::new(Semaphore::new(limits.max_connections)),
            open: Gauge::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("http_connections", "Open connections", self.open.clone());
    }

    /// Accepts connections until it drains.
    pub(super) fn accept_from(&self, listener: Listener) {
        let (router, limits, open) = (self.router.clone(), self.limits, self.open.clone());
        let (free, tasks) = (Arc::clone(&self.free), self.tasks.clone());
        let (draining, cut) = (self.draining.clone(), self.cut.clone());
        let accept = async move {
            loop {
                let place = Arc::clone(&free).acquire_owned().await.expect("the semaphore is never closed");
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let (router, draining, cut, open) = (router.clone(), draining.clone(), cut.clone(), open.clone());
                tasks.spawn(async move {
                    open.inc();
                    let serve = async {
                        match stream {
                            Stream::Tcp(stream) => serve(stream, peer, router, limits, draining).await,
                            Stream::Unix(stream) => serve(stream, peer, router, limits, draining).await,
                        }
                    };
                    cut.run_until_cancelled(serve).await;
                    open.dec();
                    drop(place);
                });
            }
        };
        let draining = self.draining.clone();
        self.tasks.spawn(async move { draining.run_until_cancelled(accept).await });
    }

    /// Stops accepting, lets every connection finish its request, and cuts those that take longer than `patience`.
    pub(super) async fn drain(self, patience: Duration) {
        self.draining.cancel();
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "cutting connections that did not finish in time");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.draining.cancel();
        self.cut.cancel();
    }
}

async fn serve<S>(stream: S, peer: Peer, router: Router, limits: Limits, draining: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let stream = TokioIo::new(Stalling::new(stream, limits.stall));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let connection = http.serve_connection(stream, service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // A client that went away, or was given up: nothing that an operator could do about.
        tracing::debug!(%error, "a connection ended early");
    }
}
