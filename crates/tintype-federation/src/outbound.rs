//! Requests to other servers, and to what they point to.
//!
//! Everything runs on a runtime that is passed in: connections to other servers outlive the client's request that they
//! were made for, and that client's connection may live on a thread of its own. A request is dropped there when nobody
//! waits for it any longer. No proxy is used, whatever the environment says: the address filter could not see
//! behind it.

use std::{
    error::Error,
    iter,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::CertificateDer;
use tintype_domain::{Clock, OwnedServerName, ServerName, Timestamp};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use url::Url;

use crate::{
    AddressFilter, Step,
    backoff::Backoff,
    connector::{Answered, Dialer, MatrixConnector},
    discovery::Discovery,
    resolver::Resolver,
    slots::Slots,
    web::Web,
    well_known::WellKnowns,
};

/// How we introduce ourselves.
pub const USER_AGENT: &str = concat!("Tintype/", env!("CARGO_PKG_VERSION"));

/// The longest head of an answer, in bytes. It is also as much of a body as is read ahead.
const MAX_HEAD: usize = 64 * 1024;

/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// How many connections to one server are kept while nobody uses them.
const MAX_IDLE: usize = 8;

/// The ports that are meant where none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of https.
    pub https: u16,
    /// Of Matrix servers.
    pub federation: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { https: 443, federation: 8448 }
    }
}

/// What [`Outbound`] is made of.
pub struct OutboundParts {
    /// Which addresses may be connected to.
    pub filter: AddressFilter,
    /// Certificates that are trusted beside the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The name servers to ask; empty: the system's.
    pub nameservers: Vec<SocketAddr>,
    /// [`Ports::default`] outside tests.
    pub ports: Ports,
    /// How long it may take to connect to one address, the handshake of TLS included. A `.well-known` file may take
    /// twice as long.
    pub connect_timeout: Duration,
    /// Tells how long answers about servers are believed.
    pub clock: Arc<dyn Clock>,
    /// Where everything runs.
    pub runtime: Handle,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// Only addresses that the filter refuses were found.
    #[error("connections to {address} are not allowed")]
    Forbidden {
        /// One of them.
        address: IpAddr,
    },
    /// A name leads nowhere.
    #[error("DNS failed for `{name}`: {reason}")]
    Dns {
        /// The name that was asked for; empty if no name could be.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// No connection was made.
    #[error("connecting to {address} failed: {reason}")]
    Connect {
        /// The address that was tried.
        address: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// The peer does not show a certificate that we trust, or TLS failed otherwise.
    #[error("TLS with `{name}` failed: {reason}")]
    Tls {
        /// The name that the certificate must have; empty if TLS cannot be set up.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// There was no connection, or no answer, in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// The connection broke before the answer, or that is not HTTP.
    #[error("the answer is not HTTP: {0}")]
    Http(String),
    /// A URL, or a redirect, is not of the scheme `https`.
    #[error("the URL is not https")]
    NotHttps,
    /// A URL, or a redirect, is not one that can be fetched.
    #[error("the URL cannot be fetched: {0}")]
    Url(String),
    /// More than five redirects, or some that run in a circle.
    #[error("there are too many redirects")]
    TooManyRedirects,
    /// The server name is not one that can be resolved.
    #[error("the server name is not valid")]
    ServerName,
    /// The request's target would not be sent as it is.
    #[error("the request's target is not valid")]
    Target,
    /// The server could not be reached lately, and is left alone.
    #[error("the server could not be reached lately")]
    BackingOff {
        /// When it is tried again.
        until: Timestamp,
    },
    /// The program ends.
    #[error("the program is stopping")]
    Stopped,
}

impl OutboundError {
    /// Whether the server could not be reached, so that it is of no use to try again at once.
    fn is_of_reaching(&self) -> bool {
        matches!(self, Self::Dns { .. } | Self::Connect { .. } | Self::Tls { .. } | Self::TimedOut)
    }
}

/// Where a server name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The step of the specification that says so.
    pub step: Step,
    /// What the `.well-known` file said, if it was asked for: the server that it delegates to, or what is wrong with it.
    pub delegation: Option<Result<OwnedServerName, String>>,
    /// The `Host` header of requests.
    pub host: String,
    /// The name, or the address, that the certificate must have.
    pub certificate_name: String,
    /// The addresses that are tried, in their order; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Makes requests to other servers.
#[derive(Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
    runtime: Handle,
}

struct Inner {
    backoff: Backoff,
    connect_timeout: Duration,
    dialer: Arc<Dialer>,
    discovery: Arc<Discovery>,
    matrix: Client<MatrixConnector, Full<Bytes>>,
    slots: Slots,
    web: Arc<Web>,
}

/// A request to a Matrix server, as often as it is needed.
struct Draft {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Outbound {
    /// Prepares everything; connects to nobody. A machine without DNS or without certificates to trust is no error here:
    /// its requests fail.
    ///
    /// # Errors
    /// [`OutboundError::Tls`] if one of the extra certificates cannot be trusted; [`OutboundError::Dns`] if the resolver
    /// does not start.
    pub fn new(parts: OutboundParts) -> Result<Self, OutboundError> {
        let OutboundParts { filter, extra_roots, nameservers, ports, connect_timeout, clock, runtime } = parts;
        // What belongs to a runtime belongs to ours, wherever this is called.
        let entered = runtime.enter();
        let resolver = Arc::new(Resolver::new(&nameservers)?);
        let dialer = Arc::new(Dialer::new(resolver.clone(), filter, extra_roots, connect_timeout)?);
        let web = Arc::new(Web::new(dialer.clone(), ports.https));
        // Connections of its own: where media is slow, files of discovery need not be.
        let discovering = Arc::new(Web::new(dialer.clone(), ports.https));
        let well_knowns = WellKnowns::new(discovering, clock.clone(), connect_timeout.saturating_mul(2));
        let discovery = Arc::new(Discovery::new(resolver, well_knowns, ports));
        let slots = Slots::default();
        let connector = MatrixConnector { dialer: dialer.clone(), discovery: discovery.clone(), slots: slots.clone() };
        let matrix = pool().build(connector);
        let backoff = Backoff::new(clock);
        drop(entered);
        Ok(Self { inner: Arc::new(Inner { backoff, connect_timeout, dialer, discovery, matrix, slots, web }), runtime })
    }

    /// GET of a raw request target (path and query, sent as it is) at a Matrix server. `patience` is for the whole way
    /// until the head of the answer is there; its body has no limits yet.
    ///
    /// # Errors
    /// An [`OutboundError`] if no answer came. An answer with an error status is an answer.
    pub async fn get(
        &self,
        server: &ServerName,
        target: &str,
        headers: HeaderMap,
        patience: Duration,
    ) -> Result<Response<Incoming>, OutboundError> {
        let draft = Draft { method: Method::GET, target: target.to_owned(), headers, body: Bytes::new() };
        self.ask(server, draft, patience).await
    }

    /// POST of JSON at a Matrix server, otherwise like [`Outbound::get`]. It may be sent twice, so it is for questions
    /// only.
    ///
    /// # Errors
    /// Like [`Outbound::get`].
    pub async fn post_json(
        &self,
        server: &ServerName,
        target: &str,
        body: &serde_json::Value,
        patience: Duration,
    ) -> Result<Response<Incoming>, OutboundError> {
        let headers = iter::once((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).collect();
        let body = Bytes::from(body.to_string());
        self.ask(server, Draft { method: Method::POST, target: target.to_owned(), headers, body }, patience).await
    }

    /// GET of a URL that some server pointed to: https only, without anything that identifies us; at most five
    /// redirects are followed. `patience` is for the whole way until the head of the last answer is there.
    ///
    /// # Errors
    /// An [`OutboundError`] if no answer came. An answer with an error status is an answer.
    pub async fn get_web(&self, url: &Url, patience: Duration) -> Result<Response<Incoming>, OutboundError> {
        let (inner, url) = (self.inner.clone(), url.clone());
        self.run(async move { timeout(patience, inner.web.get(&url)).await.unwrap_or(Err(OutboundError::TimedOut)) })
            .await
    }

    /// Where a server name leads. Connects to nobody but the host of its `.well-known` file.
    ///
    /// # Errors
    /// An [`OutboundError`] if it leads nowhere, or only to where we may not connect.
    pub async fn resolve(&self, server: &ServerName) -> Result<Destination, OutboundError> {
        let (inner, server) = (self.inner.clone(), server.to_owned());
        self.run(async move { inner.resolve(&server).await }).await
    }

    async fn ask(
        &self,
        server: &ServerName,
        draft: Draft,
        patience: Duration,
    ) -> Result<Response<Incoming>, OutboundError> {
        let (inner, server) = (self.inner.clone(), server.to_owned());
        self.run(async move { inner.ask(&server, &draft, patience).await }).await
    }

    /// Runs something on our runtime for as long as somebody waits for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, OutboundError>> + Send + 'static,
    ) -> Result<T, OutboundError> {
        let task: JoinHandle<_> = self.runtime.spawn(work);
        let _abort = AbortOnDrop(task.abort_handle());
        task.await.unwrap_or(Err(OutboundError::Stopped))
    }
}

impl Inner {
    /// Asks, and remembers whether the server could be reached.
    async fn ask(
        &self,
        server: &ServerName,
        draft: &Draft,
        patience: Duration,
    ) -> Result<Response<Incoming>, OutboundError> {
        let attempt = self.backoff.begin(server).map_err(|until| OutboundError::BackingOff { until })?;
        let mut reached = Reached::No;
        let answer = timeout(patience, self.exchange(server, draft, &mut reached)).await;
        let is_failure = match &answer {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => error.is_of_reaching(),
            // Somebody without patience says nothing about the server.
            Err(_) => patience >= self.connect_timeout && !reached.is_connected(&self.slots),
        };
        if matches!(answer, Ok(Ok(_))) {
            self.backoff.succeeded(server);
        }
        if is_failure {
            self.backoff.failed(server, attempt);
        }
        answer.unwrap_or(Err(OutboundError::TimedOut))
    }

    /// Sends a request, and once more if a connection that was in use before broke: its other end may have closed it
    /// just then.
    async fn exchange(
        &self,
        server: &ServerName,
        draft: &Draft,
        reached: &mut Reached,
    ) -> Result<Response<Incoming>, OutboundError> {
        let identity = self.discovery.identity(server).await?;
        let mut is_second = false;
        loop {
            let mut request = draft.request(&identity.name)?;
            *reached = Reached::Perhaps(identity.name.clone(), capture_connection(&mut request));
            match self.matrix.request(request).await {
                Ok(response) => {
                    if let Some(answered) = response.extensions().get::<Answered>() {
                        answered.note();
                    }
                    return Ok(response);
                }
                Err(error) if !is_second && was_in_use(&error) => is_second = true,
                Err(error) => return Err(error_of(&error)),
            }
        }
    }

    async fn resolve(&self, server: &ServerName) -> Result<Destination, OutboundError> {
        let identity = self.discovery.identity(server).await?;
        let (step, targets) = self.discovery.targets(&identity).await?;
        let (mut addresses, mut first_failure) = (Vec::new(), None);
        for target in &targets {
            match self.dialer.addresses(target).await {
                Ok(found) => addresses.extend(found),
                Err(failure) => _ = first_failure.get_or_insert(failure),
            }
        }
        match first_failure {
            Some(failure) if addresses.is_empty() => Err(failure),
            _ => Ok(Destination {
                step,
                host: identity.name.to_string(),
                certificate_name: identity.host.certificate_name()?.to_str().into_owned(),
                delegation: identity.delegation,
                addresses,
            }),
        }
    }
}

impl Draft {
    /// The request to a server that goes by this name, which is its `Host` and the pool's key. Path and query are sent as
    /// they are.
    fn request(&self, name: &ServerName) -> Result<Request<Full<Bytes>>, OutboundError> {
        let uri = Uri::builder().scheme("https").authority(name.as_str()).path_and_query(self.target.as_str());
        let uri = uri.build().map_err(|_| OutboundError::Target)?;
        if uri.path_and_query().is_none_or(|sent| sent.as_str() != self.target) {
            return Err(OutboundError::Target);
        }
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        let host = HeaderValue::from_str(name.as_str()).map_err(|_| OutboundError::ServerName)?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        Ok(request)
    }
}

/// Whether a request got a connection.
enum Reached {
    No,
    Perhaps(OwnedServerName, legacy::connect::CaptureConnection),
}

impl Reached {
    /// Whether there is one, or there are so many that it had to wait for one of them.
    fn is_connected(&self, slots: &Slots) -> bool {
        match self {
            Self::No => false,
            Self::Perhaps(name, connection) => {
                connection.connection_metadata().is_some() || slots.are_taken(name.as_str())
            }
        }
    }
}

/// Ends a task that nobody waits for any longer.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What every pool of connections has in common.
pub fn pool() -> legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .http1_max_buf_size(MAX_HEAD);
    builder
}

/// Our own error, if a connector gave one; what HTTP says otherwise.
pub fn error_of(error: &legacy::Error) -> OutboundError {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(ours) = error.downcast_ref::<OutboundError>() {
            return ours.clone();
        }
        line = format!("{line}: {error}");
        cause = error.source();
    }
    OutboundError::Http(line)
}

/// Whether a request failed on a connection that had brought an answer before.
fn was_in_use(error: &legacy::Error) -> bool {
    let mut extras = http::Extensions::new();
    error.connect_info().inspect(|connected| connected.get_extras(&mut extras));
    extras.get::<Answered>().is_some_and(Answered::is_noted)
}
