//! Handing a request to another node, and its answer back.
//!
//! Connections are kept by the thread that made them, as those to homeservers are. There is no time limit for an answer: a node
//! that is gone is one that the database knows to be gone, and whoever waits for it is told then.

use std::{
    cell::OnceCell,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, Request, StatusCode, Uri, Version, header},
    response::Response,
};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tintype_domain::Clock as _;
use tintype_homeserver::keep_end_to_end;
use tintype_repository::{Elsewhere, FulfilError, Node, Wanted};

use super::{ENVELOPE, Envelope, LOOK_AGAIN, VERDICT, outcome};
use crate::{Api, edge::Head, error::MatrixError, metrics::RelayOutcome};

/// How long it may take until a connection to a node is there: it is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection that nobody uses is kept: shorter than a node keeps it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections to one node a thread keeps while nobody uses them.
const MAX_IDLE: usize = 64;

pub(super) type SentBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

type NodeClient = Client<HttpConnector, SentBody>;

thread_local! {
    static POOL: OnceCell<NodeClient> = const { OnceCell::new() };
}

/// What came of handing a request to another node.
enum Handed {
    /// Its answer.
    Answer(Response),
    /// It has nothing of what is asked for.
    LookAgain,
    /// It gave no answer.
    Unreachable,
}

/// What is handed on, beside the head.
struct Sent<B> {
    /// The client's body.
    body: B,
    /// What of the media has to be there before it is answered.
    wanted: Wanted,
}

/// What was found, here or at another node.
pub(crate) enum Place<T> {
    Here(T),
    There(Response),
}

/// The answer of another node to the client's request; none, if it has nothing of what is asked for, or gives no answer.
pub(crate) async fn answer_of_node(api: &Api, head: &Head, wanted: Wanted, elsewhere: &Elsewhere) -> Option<Response> {
    match hand_over(api, head, Sent { body: Body::empty(), wanted }, elsewhere).await {
        Handed::Answer(answer) => Some(answer),
        Handed::LookAgain | Handed::Unreachable => None,
    }
}

/// The answer of the node that has the upload, where the refusal says that it is another one.
///
/// # Errors
/// Any other refusal. 503 if that node gives no answer, or has nothing of it any more: the client tries again.
pub(crate) async fn upload_elsewhere<B>(
    api: &Api,
    head: &Head,
    body: B,
    error: FulfilError,
) -> Result<Response, MatrixError>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let FulfilError::Elsewhere(elsewhere) = &error else { return Err(error.into()) };
    if head.trace.relayed.is_some() {
        return Err(error.into());
    }
    match Box::pin(hand_over(api, head, Sent { body, wanted: Wanted::Beginning }, elsewhere)).await {
        Handed::Answer(answer) => Ok(answer),
        Handed::LookAgain | Handed::Unreachable => Err(MatrixError::node_unreachable()),
    }
}

/// Hands the client's request to another node.
async fn hand_over<B>(api: &Api, head: &Head, sent: Sent<B>, to: &Elsewhere) -> Handed
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let (Some(relay), Some(from)) = (&api.relay, api.parts.repository.node()) else { return Handed::Unreachable };
    let Sent { body, wanted } = sent;
    let (node, trace) = (&to.node, &head.trace);
    let request = &head.request;
    let mut handed = Request::new(body.map_err(Into::into).boxed_unsync());
    *handed.method_mut() = request.method().clone();
    *handed.uri_mut() = target(request.uri());
    handed.headers_mut().clone_from(request.headers());
    let headers = handed.headers_mut();
    // RFC 9112 §3.2.2: the host that the target names, whatever the header says.
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.insert(header::HOST, host);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112 §6.3: a length beside it means nothing.
        headers.remove(header::CONTENT_LENGTH);
    }
    keep_end_to_end(headers);
    let envelope = Envelope {
        via: trace.via,
        wanted,
        patience: api.parts.repository.patience_left(to),
        ..Envelope::new(from, node.id, relay.clock.now(), trace.address, &*relay.parts.randomness)
    };
    let value = envelope.seal(&relay.parts.key, &handed);
    handed.headers_mut().insert(ENVELOPE, value);
    let path = request.uri().path();
    let answer = tokio::select! {
        answer = request_to(node, handed) => answer,
        () = api.parts.repository.node_is_gone(node.id) => Err("it is gone".to_owned()),
    };
    match answer {
        Ok(answer) if answer.headers().get(VERDICT) == Some(&LOOK_AGAIN) => {
            api.metrics.relayed(RelayOutcome::looked_again);
            tracing::debug!(path, node = %node.id, "another node has nothing of what is asked for any more");
            Handed::LookAgain
        }
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && is_refused(&answer) => {
            api.metrics.relayed(RelayOutcome::refused);
            tracing::error!(path, node = %node.id, address = node.address, "another node refuses the requests of this one: \
                do all have the same cluster.secret, and clocks that agree?");
            Handed::Unreachable
        }
        Ok(answer) => {
            tracing::debug!(path, node = %node.id, status = answer.status().as_u16(), "handed a request to another node");
            Handed::Answer(passed_back(api, node, answer))
        }
        Err(why) => {
            api.metrics.relayed(RelayOutcome::unreachable);
            tracing::warn!(path, node = %node.id, address = node.address, why, "another node gave no answer");
            Handed::Unreachable
        }
    }
}

/// Sends a request to a node, whose address is put before its target.
pub(super) async fn request_to(node: &Node, mut request: Request<SentBody>) -> Result<Response<Incoming>, String> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let uri = format!("{}{target}", node.address.trim_end_matches('/')).parse::<Uri>();
    *request.uri_mut() = uri.map_err(|error| format!("its address cannot be used: {error}"))?;
    *request.version_mut() = Version::HTTP_11;
    let client = POOL.with(|pool| pool.get_or_init(client).clone());
    client.request(request).await.map_err(|error| {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            why = format!("{why}: {error}");
            source = error.source();
        }
        why
    })
}

fn client() -> NodeClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .build(connector)
}

/// Path and query, byte for byte: a signature of another server is over them.
fn target(uri: &Uri) -> Uri {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    target.parse().expect("a part of a request's target is a target")
}

/// Whether a node does not take us for one of its cluster: no answer to a client looks so.
fn is_refused<B>(answer: &Response<B>) -> bool {
    answer.headers().get(header::WWW_AUTHENTICATE).is_some_and(|challenge| challenge == "Tintype-Relay")
}

/// The answer of another node, as this one's.
fn passed_back(api: &Api, node: &Node, answer: Response<Incoming>) -> Response {
    let (mut parts, body) = answer.into_parts();
    keep_end_to_end(&mut parts.headers);
    let verdict = parts.headers.remove(VERDICT);
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    if let Some(outcome) = verdict.as_ref().and_then(outcome) {
        parts.extensions.insert(outcome);
    }
    let repository = api.parts.repository.clone();
    let id = node.id;
    let gone = Box::pin(async move { repository.node_is_gone(id).await });
    let body = RelayedBody { body, gone, metrics: api.metrics.clone(), outcome: RelayOutcome::left };
    Response::from_parts(parts, Body::new(body))
}

/// Why an answer of another node has no end.
#[derive(Debug, thiserror::Error)]
enum RelayedBodyError {
    #[error("another node broke off its answer: {0}")]
    BrokenOff(hyper::Error),
    #[error("the node that gave the answer is gone")]
    Gone,
}

/// The body of another node's answer. It is counted when it is dropped.
struct RelayedBody {
    body: Incoming,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    metrics: crate::HttpMetrics,
    outcome: RelayOutcome,
}

impl HttpBody for RelayedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => frame.map(|frame| frame.map_err(RelayedBodyError::BrokenOff)),
            Poll::Pending => match this.gone.as_mut().poll(context) {
                Poll::Ready(()) => Some(Err(RelayedBodyError::Gone)),
                Poll::Pending => return Poll::Pending,
            },
        };
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => this.outcome = RelayOutcome::cut,
            None => this.outcome = RelayOutcome::answered,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RelayedBody {
    fn drop(&mut self) {
        // Nobody asks for more than the length that was said.
        if self.outcome == RelayOutcome::left && self.body.is_end_stream() {
            self.outcome = RelayOutcome::answered;
        }
        self.metrics.relayed(self.outcome);
    }
}
