//! What every request and every answer has in common: CORS, the log line, the counters, and a last net for panics.

use std::{
    convert::Infallible,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Body as _, Frame, SizeHint};
use tintype_domain::{OwnedServerName, User};
use tintype_http::resumable::{UPLOAD_LIMIT, upload_limit};
use tintype_repository::Hop;
use tintype_storage::blobs::BlobsError;
use tower::Service as _;

use crate::{
    Api, Endpoints, Ownership,
    error::MatrixError,
    front_door::Passed,
    metrics::Endpoint,
    outcome,
    relay::{ENVELOPE, Relayed},
};

/// What there is to say of a request when its answer has ended. A token is never among it.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the answer's body that were sent.
    pub bytes: u64,
    /// From the request's head to the answer's last byte.
    pub elapsed: Duration,
    /// Whose token it was, or which server signed it.
    pub requester: Option<&'a str>,
    /// Where the client is.
    pub address: IpAddr,
    /// Whether the answer did not reach its end.
    pub cut: bool,
}

/// Writes the line of a request. It is called on the threads that serve, and must not block.
pub type RequestLog = Box<dyn Fn(&RequestLine<'_>) + Send + Sync>;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    /// A TCP peer.
    Address(IpAddr),
    /// A TCP peer that spoke TLS.
    Tls(IpAddr),
    /// A process on this machine, through a Unix socket.
    Local,
}

/// What is learnt of a request while it is served, for its log line.
#[derive(Clone)]
pub(crate) struct Trace {
    pub(crate) address: IpAddr,
    pub(crate) via: Via,
    /// What another node has decided, if it comes from one.
    pub(crate) relayed: Option<Relayed>,
    requester: Arc<OnceLock<Asker>>,
}

/// How a request came from its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// From the client itself, or from a proxy that is not believed.
    Http,
    /// The same, with TLS.
    Https,
    /// From a proxy that is believed.
    TrustedProxy,
}

/// Whose token, or whose signature, a request had.
enum Asker {
    User(Arc<User>),
    Server(OwnedServerName),
}

impl Asker {
    fn as_str(&self) -> &str {
        match self {
            Self::User(user) => user.user_id.as_str(),
            Self::Server(server) => server.as_str(),
        }
    }
}

impl Trace {
    /// Of a request that another node has handed to this one.
    pub(crate) fn relayed(address: IpAddr, via: Via, relayed: Relayed) -> Self {
        Self { address, via, relayed: Some(relayed), requester: Arc::default() }
    }

    /// How it came to this node.
    pub(crate) fn hop(&self) -> Hop {
        if self.relayed.is_some() { Hop::Relayed } else { Hop::First }
    }

    pub(crate) fn requester(&self, user: &Arc<User>) {
        // A request has one requester: a second one would be the same.
        let _ = self.requester.set(Asker::User(Arc::clone(user)));
    }

    pub(crate) fn server(&self, server: &OwnedServerName) {
        let _ = self.requester.set(Asker::Server(server.clone()));
    }
}

/// A request without its body.
pub(crate) struct Head {
    pub(crate) request: Request<()>,
    pub(crate) trace: Trace,
}

impl Head {
    pub(crate) fn split(request: Request) -> (Self, Body) {
        let (mut parts, body) = request.into_parts();
        let trace = parts.extensions.remove::<Trace>().expect("every request comes through the edge");
        (Self { request: Request::from_parts(parts, ()), trace }, body)
    }
}

impl<S: Sync> FromRequest<S> for Head {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self::split(request).0)
    }
}

impl Endpoints {
    /// Answers a request from `peer`.
    pub async fn answer(&self, mut request: Request, peer: Peer) -> Response {
        // Between nodes only, and on their port only.
        request.headers_mut().remove(ENVELOPE);
        let trace = Trace {
            address: self.api.client_address(peer, request.headers()),
            via: self.api.via(peer),
            relayed: None,
            requester: Arc::default(),
        };
        self.answer_traced(request, trace).await
    }

    /// Answers a request of which it is known where it came from.
    pub(crate) async fn answer_traced(&self, mut request: Request, trace: Trace) -> Response {
        let started = Instant::now();
        let api = &self.api;
        let user_agent = request.headers().get(header::USER_AGENT).cloned();
        let mut line = Line {
            endpoint: Endpoint::of(request.uri().path()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            trace: trace.clone(),
            started,
            status: StatusCode::OK,
            sent: 0,
            expected: None,
            ended: false,
            api: Arc::clone(api),
        };
        let mut response = if request.method() == Method::OPTIONS && api.way_out(&request).is_none() {
            // The specification: preflight requests are answered without the endpoint's own logic.
            let mut response = StatusCode::NO_CONTENT.into_response();
            if line.endpoint == Endpoint::asynchronous_upload {
                // What the draft of resumable uploads tells who asks for it.
                let limit = upload_limit(api.parts.repository.largest_upload(), None);
                response.headers_mut().insert(UPLOAD_LIMIT, limit);
            }
            response
        } else {
            request.extensions_mut().insert(trace);
            let owns = api.tenant(&request).is_ok_and(|tenant| tenant.ownership == Ownership::Ours);
            let router = if owns { &self.standalone } else { &self.beside };
            let answer = router.clone().call(request);
            match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(panic) => {
                    tracing::error!(path = line.path, panic = panic_text(&*panic), "a request panicked");
                    MatrixError::internal().into_response()
                }
            }
        };
        if line.trace.relayed.is_none() {
            outcome::count(api, line.endpoint, &line.method, user_agent.as_ref(), &response);
        }
        match response.extensions().get() {
            Some(Passed::Answer) => line.endpoint = Endpoint::passed_through,
            Some(Passed::Failure) => {
                line.endpoint = Endpoint::passed_through;
                allow_every_origin(response.headers_mut());
            }
            None => allow_every_origin(response.headers_mut()),
        }
        line.status = response.status();
        if matches!(line.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // RFC 9110, section 8.6: the first has none, and that of the second would be the media's.
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let is_head = line.method == Method::HEAD;
        response.map(|body| {
            line.expected = if is_head { Some(0) } else { body.size_hint().exact() };
            Body::new(Logged { body, line })
        })
    }
}

/// CORS (client-server API, "Web Browser Clients"), with what ranges and conditions need besides.
pub(crate) const CORS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "X-Requested-With, Content-Type, Authorization, Range, If-Range, If-Match, If-None-Match, Upload-Complete, \
             Upload-Offset, Upload-Length",
        ),
    ),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Accept-Ranges, Content-Disposition, Content-Range, ETag, Location, Retry-After, Upload-Complete, \
             Upload-Length, Upload-Limit, Upload-Offset",
        ),
    ),
];

/// Adds CORS to an answer that does not have it yet.
fn allow_every_origin(headers: &mut HeaderMap) {
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.extend(CORS);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// What is logged and counted when the last byte of an answer is sent, or its connection is gone.
struct Line {
    endpoint: Endpoint,
    method: Method,
    /// Without the query, which may hold an access token.
    path: String,
    trace: Trace,
    started: Instant,
    status: StatusCode,
    sent: u64,
    /// Bytes that a whole answer has, if that is known.
    expected: Option<u64>,
    ended: bool,
    api: Arc<Api>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let whole = self.ended || self.expected == Some(self.sent);
        let elapsed = self.started.elapsed();
        self.api.metrics.answered(self.endpoint, self.status, self.sent, elapsed);
        if let Some(log) = &self.api.parts.request_log {
            log(&RequestLine {
                method: self.method.as_str(),
                path: &self.path,
                status: self.status.as_u16(),
                bytes: self.sent,
                elapsed,
                requester: self.trace.requester.get().map(Asker::as_str),
                address: self.trace.address,
                cut: !whole,
            });
        }
    }
}

fn is_broken_off(error: &axum::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(BlobsError::BrokenOff))
}

/// A body that knows what was sent of it.
struct Logged {
    body: Body,
    line: Line,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => self.line.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            // Its sender broke off, not we.
            Some(Err(error)) if is_broken_off(error) => {
                tracing::debug!(path = self.line.path, %error, "an answer broke off");
            }
            Some(Err(error)) => tracing::warn!(path = self.line.path, %error, "an answer broke off"),
            None => self.line.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
