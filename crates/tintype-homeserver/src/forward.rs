//! Passing a request on to the homeserver, and its answer back, as they are.
//!
//! The target goes out byte for byte: a signature of another server is over it. Both bodies are streamed, each no faster
//! than its reader reads. Nothing is sent twice: a request on a connection that turned out to be closed goes to another one
//! only if not a byte of it was written. There is no time limit but for connecting, since a sync may take its time; whoever
//! drops the future or the answer's body ends the request at the homeserver.
//!
//! Connections are kept by the thread that made them, and driven by its runtime: so no piece of a body changes threads, and
//! a thread that ends takes no other thread's requests along.

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, Version, header, uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use url::Url;

use crate::{Homeserver, connector::Connector, whoami::chain};

/// How long a connection that nobody uses is kept: shorter than any homeserver is known to keep it, since a request that
/// meets the end of its connection is not sent again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections a thread keeps while nobody uses them.
const MAX_IDLE: usize = 64;

/// The longest head of an answer, in bytes. It is also as much of a body as is read ahead.
const MAX_HEAD: usize = 64 * 1024;

/// What is between two neighbours only (RFC 9110 §7.6.1), beside what `Connection` names. `Expect` is answered by whoever
/// receives the body.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Why there is no answer to pass back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForwardError {
    /// Nothing of the request can have reached the homeserver.
    #[error("the homeserver cannot be reached: {0}")]
    NotSent(String),
    /// The request, or a part of it, may have reached the homeserver.
    #[error("the homeserver did not answer: {0}")]
    Unknown(String),
}

type SentBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;
type Pool = Client<Connector, SentBody>;

thread_local! {
    /// By the number of their upstream.
    static POOLS: RefCell<HashMap<u64, Pool>> = RefCell::default();
}

/// Tells upstreams apart.
static UPSTREAMS: AtomicU64 = AtomicU64::new(0);

/// Where requests are passed on to.
pub(crate) struct Upstream {
    number: u64,
    scheme: uri::Scheme,
    authority: uri::Authority,
    /// What stands before every path; mostly nothing.
    prefix: String,
    connector: Connector,
}

impl Upstream {
    pub(crate) fn new(base: &Url) -> Result<Self, String> {
        let unusable = |error: &dyn Error| format!("its URL cannot be used: {error}");
        let uri = base.as_str().parse::<Uri>().map_err(|error| unusable(&error))?;
        let uri::Parts { scheme, authority, .. } = uri.into_parts();
        Ok(Self {
            number: UPSTREAMS.fetch_add(1, Ordering::Relaxed),
            scheme: scheme.ok_or("its URL has no scheme")?,
            authority: authority.ok_or("its URL names no host")?,
            prefix: base.path().trim_end_matches('/').to_owned(),
            connector: Connector::new(base)?,
        })
    }

    fn pool(&self) -> Pool {
        POOLS.with_borrow_mut(|pools| pools.entry(self.number).or_insert_with(|| pool(self.connector.clone())).clone())
    }

    /// The URL of a target, which is not changed.
    fn uri(&self, target: &Uri) -> Result<Uri, ForwardError> {
        let target = target.path_and_query().map_or("/", uri::PathAndQuery::as_str);
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        let uri = if self.prefix.is_empty() {
            builder.path_and_query(target)
        } else {
            builder.path_and_query(format!("{}{target}", self.prefix))
        };
        uri.build().map_err(|error| ForwardError::NotSent(format!("the target cannot be sent: {error}")))
    }
}

fn pool(connector: Connector) -> Pool {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .http1_max_buf_size(MAX_HEAD)
        .build(connector)
}

impl Homeserver {
    /// Passes a request on: method, path and query, headers but those between neighbours, and body. `Host` is the
    /// request's. The future is dropped, or the body of the answer is, when nobody waits for it any more.
    ///
    /// # Errors
    /// A [`ForwardError`]. An answer with an error status is an answer.
    pub async fn forward<B>(&self, request: Request<B>) -> Result<Response<ForwardedBody>, ForwardError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.upstream.uri(&parts.uri)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        if parts.headers.contains_key(header::TRANSFER_ENCODING) {
            // RFC 9112 §6.3: a length beside it means nothing.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        keep_end_to_end(&mut parts.headers);
        let request = Request::from_parts(parts, body.map_err(Into::into).boxed_unsync());
        let response = self.upstream.pool().request(request).await.map_err(|error| {
            let why = chain(&error);
            if error.is_connect() { ForwardError::NotSent(why) } else { ForwardError::Unknown(why) }
        })?;
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ForwardError::Unknown("it changes to another protocol, unasked".to_owned()));
        }
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        keep_end_to_end(&mut parts.headers);
        Ok(Response::from_parts(parts, ForwardedBody(body)))
    }
}

/// Removes what is between two neighbours only (RFC 9110 §7.6.1).
pub fn keep_end_to_end(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    // Whoever names these would make another request of it.
    let named = named.filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH).collect::<Vec<_>>();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The body of a homeserver's answer, which ends in an error if the homeserver breaks it off.
#[derive(Debug)]
pub struct ForwardedBody(Incoming);

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        Pin::new(&mut self.0)
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(|error| ForwardError::Unknown(chain(&error)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
