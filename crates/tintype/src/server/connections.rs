//! Connections: accepted up to a number, given up when their peer does nothing, and finished in order at the end.
//!
//! Each core has a thread with a runtime of its own, and a connection stays on the thread that it was given to: a small
//! download is over in microseconds, and moving it between threads would cost as much again. Nothing on these threads
//! may block; what must, goes to blocking threads and to the pool that makes thumbnails.

use std::{io, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tintype_api::Peer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    listener::{Accepted, Listener, Stream},
    stall::Stalling,
    tls::Tls,
};

/// Answers requests.
pub(super) trait Answer: Clone + Send + Sync + 'static {
    fn answer(&self, request: Request, peer: Peer) -> impl Future<Output = Response> + Send;
}

/// How long to wait after a failed accept: mostly, the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that a connection gathers of what it receives, and of what it sends. More of it makes transfers hardly faster,
/// and many of them at once take as many times the memory.
const BUFFER: usize = 256 * 1024;

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
    limits: Limits,
    free: Arc<Semaphore>,
    open: Gauge,
    threads: Vec<mpsc::UnboundedSender<Admitted>>,
    tasks: TaskTracker,
    /// No new requests: each connection closes after the one it is serving.
    draining: CancellationToken,
    /// No more anything.
    cut: CancellationToken,
}

/// A connection that has a place among the open ones.
struct Admitted {
    stream: Accepted,
    peer: Peer,
    place: OwnedSemaphorePermit,
}

impl Connections {
    /// Starts the threads that serve connections.
    ///
    /// # Errors
    /// Those of the system when it gives no thread.
    pub(super) fn new(answer: &impl Answer, threads: NonZeroUsize, limits: Limits) -> io::Result<Self> {
        let mut connections = Self {
            limits,
            free: Arc::new(Semaphore::new(limits.max_connections)),
            open: Gauge::default(),
            threads: Vec::new(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        for _ in 0..threads.get() {
            let (sender, admitted) = mpsc::unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let serving = connections.serving(answer.clone());
            let running = connections.tasks.token();
            thread::Builder::new().name("connections".to_owned()).spawn(move || {
                runtime.block_on(serving.serve(admitted));
                // Who drains waits until the thread holds nothing of the repository any more.
                drop((runtime, running));
            })?;
            connections.threads.push(sender);
        }
        Ok(connections)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("http_connections", "Open connections", self.open.clone());
    }

    /// Accepts connections until it drains.
    pub(super) fn accept_from(&self, listener: Listener) {
        let (free, threads) = (Arc::clone(&self.free), self.threads.clone());
        let accept = async move {
            // Dealt out in turn: what one connection will ask for is not known beforehand.
            for thread in threads.iter().cycle() {
                let place = Arc::clone(&free).acquire_owned().await.expect("the semaphore is never closed");
                let (stream, peer) = loop {
                    match listener.accept().await {
                        Ok(accepted) => break accepted,
                        Err(error) => {
                            tracing::warn!(%error, "a connection could not be accepted");
                            sleep(ACCEPT_PAUSE).await;
                        }
                    }
                };
                if thread.send(Admitted { stream, peer, place }).is_err() {
                    return;
                }
            }
        };
        let draining = self.draining.clone();
        self.tasks.spawn(async move { draining.run_until_cancelled(accept).await });
    }

    /// Stops accepting, lets every connection finish its request, and cuts those that take longer than `patience`.
    pub(super) async fn drain(mut self, patience: Duration) {
        self.draining.cancel();
        // A thread ends when no more connections can come.
        self.threads.clear();
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.open.get(), "cutting connections that did not finish in time");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }

    fn serving<A: Answer>(&self, answer: A) -> Serving<A> {
        Serving {
            answer,
            limits: self.limits,
            open: self.open.clone(),
            tasks: self.tasks.clone(),
            draining: self.draining.clone(),
            cut: self.cut.clone(),
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.draining.cancel();
        self.cut.cancel();
    }
}

/// What one thread needs.
struct Serving<A> {
    answer: A,
    limits: Limits,
    open: Gauge,
    tasks: TaskTracker,
    draining: CancellationToken,
    cut: CancellationToken,
}

impl<A: Answer> Serving<A> {
    /// Serves connections until no more come and the last one has ended.
    async fn serve(self, mut admitted: mpsc::UnboundedReceiver<Admitted>) {
        let mine = TaskTracker::new();
        while let Some(Admitted { stream, peer, place }) = admitted.recv().await {
            let (answer, limits) = (self.answer.clone(), self.limits);
            let (draining, cut, open) = (self.draining.clone(), self.cut.clone(), self.open.clone());
            let connection = async move {
                open.inc();
                // Written where it is polled: passed to a function it would take its room twice, for each connection.
                tokio::select! {
                    () = async {
                        match stream.register() {
                            Ok(Stream::Tcp(stream)) => {
                                serve(Stalling::new(stream, limits.stall), peer, answer, limits, draining).await;
                            }
                            Ok(Stream::Unix(stream)) => {
                                serve(Stalling::new(stream, limits.stall), peer, answer, limits, draining).await;
                            }
                            // In a place of its own: it is larger, and the others would have to take as much room.
                            Ok(Stream::Tls(stream, tls)) => {
                                Box::pin(serve_tls(stream, tls, peer, answer, limits, draining)).await;
                            }
                            Err(error) => tracing::warn!(%error, "a connection could not be registered"),
                        }
                    } => {}
                    () = cut.cancelled() => {}
                }
                open.dec();
                drop(place);
            };
            mine.spawn(self.tasks.track_future(connection));
        }
        mine.close();
        mine.wait().await;
    }
}

/// Agrees on TLS, for which the peer has as long as for the head of a request, and serves what is within.
async fn serve_tls<A: Answer>(
    stream: TcpStream,
    tls: Arc<Tls>,
    peer: Peer,
    answer: A,
    limits: Limits,
    draining: CancellationToken,
) {
    // Within TLS, which may keep back what it was given to write, nobody would see that the peer does not read.
    let accept = timeout(limits.head, tls.accept(Stalling::new(stream, limits.stall)));
    match draining.run_until_cancelled(accept).await {
        Some(Ok(Ok(stream))) => serve(stream, peer, answer, limits, draining).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, "a connection did not agree on TLS"),
        Some(Err(_)) => tracing::debug!("a connection took too long to agree on TLS"),
        None => {}
    }
}

async fn serve<S, A>(stream: S, peer: Peer, answer: A, limits: Limits, draining: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answer,
{
    let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        Ok::<_, std::convert::Infallible>(answer.answer(request.map(Body::new), peer).await)
    });
    let stream = TokioIo::new(stream);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(BUFFER);
    let connection = http.serve_connection(stream, service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        biased;
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
