//! How requests reach the store: on which runtime, with how much patience, and what is tried again.
//!
//! Connections outlive the request that opened one, so they are driven on the runtime of the store and not on that of a
//! client's connection. A request is tried again only if doing it twice is the same as doing it once: to read, to remove,
//! and to write bytes under a name that is used once. To begin and to complete a multipart upload are not.

use std::{sync::Arc, time::Duration};

use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use tintype_domain::Randomness;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::blobs::BlobsError;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

/// How long nothing may come of an answer that has begun.
const STALL: Duration = Duration::from_secs(30);

/// How long the head of an answer may take, beside what the body of the request takes.
const ANSWER: Duration = Duration::from_secs(30);

/// The slowest store that is waited for while it takes bytes: bytes in a second.
const SLOWEST: u64 = 256 * 1024;

/// The pause before the second attempt; each of the next is three times as long.
const PAUSE: Duration = Duration::from_millis(100);

/// No attempt begins later than this after the first one.
const RETRY_FOR: Duration = Duration::from_secs(3);

/// Idle connections that are kept.
const IDLE: usize = 64;

/// Sends requests to the store.
pub(super) struct Transport {
    http: Arc<ReqwestTransport>,
    runtime: Handle,
    randomness: Arc<dyn Randomness>,
}

impl Transport {
    /// On this runtime, which has to live as long as the store is used.
    ///
    /// # Errors
    /// [`BlobsError::Store`] if the system's certificates cannot be read.
    pub(super) fn new(runtime: Handle, randomness: Arc<dyn Randomness>) -> Result<Self, BlobsError> {
        // Fails only if a provider is installed already, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT)
                .read_timeout(STALL)
                .pool_max_idle_per_host(IDLE)
                // A signature holds for one host: a store that sends elsewhere is configured wrongly, and says so.
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .http1_only()
        };
        // A machine without certificates of authorities can have a store without TLS.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let client = client.map_err(|error| BlobsError::Store(error.to_string()))?;
        Ok(Self { http: Arc::new(ReqwestTransport::new(client)), runtime, randomness })
    }

    async fn send(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let patience = ANSWER + Duration::from_secs(request.body().len() as u64 / SLOWEST);
        let http = Arc::clone(&self.http);
        let sending = self.runtime.spawn(async move { timeout(patience, http.fetch(request)).await });
        match (Ended { sending }).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(temporary("the store does not answer in time")),
            Err(_) => Err(temporary("the server is stopping")),
        }
    }

    /// The pause, more or less, so that many who failed at once do not come again at once.
    fn jittered(&self, pause: Duration) -> Duration {
        let mut random = [0; 1];
        self.randomness.fill(&mut random);
        pause / 2 + pause * u32::from(random[0]) / 256
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let may_repeat = request.method().is_idempotent();
        let (head, body) = request.into_parts();
        let began = Instant::now();
        let mut pause = PAUSE;
        loop {
            let outcome = self.send(http::Request::from_parts(head.clone(), body.clone())).await;
            let may_pass = match &outcome {
                Ok(response) => matches!(response.status().as_u16(), 429 | 499 | 500 | 502 | 503 | 504),
                Err(error) => error.is_temporary(),
            };
            let wait = self.jittered(pause);
            if !may_repeat || !may_pass || began.elapsed() + wait > RETRY_FOR {
                return outcome;
            }
            sleep(wait).await;
            pause *= 3;
        }
    }
}

/// A request that ends when nobody waits for its answer any more.
struct Ended<T> {
    sending: JoinHandle<T>,
}

impl<T> Future for Ended<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.sending).poll(context)
    }
}

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

fn temporary(message: &str) -> Error {
    Error::new(ErrorKind::Unexpected, message).set_temporary()
}
