//! The door to the homeserver: requests that are passed on to it, and its answers, as they are.
//!
//! With `pass_through` that is everything below some prefixes for which there is no endpoint here; without it only what has
//! to be seen on its way, where a proxy sends it here. Nothing is decided about it but where it goes: who may do what, and
//! how often, is the homeserver's to say.

mod attach_media;
pub(crate) mod attaching;
pub(crate) mod body;
mod passing;
mod paths;
mod sessions;
pub(crate) mod versions;

use std::sync::Arc;

use axum::{
    BoxError,
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use tintype_homeserver::Homeserver;

use self::{body::ClientBody, paths::leads_to_homeserver};
use crate::{
    Api, PassThrough,
    edge::{Head, Via},
    error::MatrixError,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What else says where a request came from, and is believed by some homeservers.
const HEARSAY: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-real-ip")];

/// What came of a request that was passed on: noted beside the answer, for the edge.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Passed {
    /// An answer that is the homeserver's own, which nothing is added to.
    Answer,
    /// We had to answer, since the homeserver did not.
    Failure,
}

impl Head {
    /// The head of a request as it is passed on, with this target: path and query, which are sent as they are. `Host` is
    /// kept, and the client is told of in `X-Forwarded-…`, where nothing is left that only the client said.
    ///
    /// # Panics
    /// If the target is none, which what is left of a target never is.
    pub(crate) fn forwarded(&self, target: &str) -> request::Parts {
        let Self { request, trace } = self;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = target.parse().expect("a part of a request's target is a target");
        let headers = &mut parts.headers;
        headers.clone_from(request.headers());
        // RFC 9112 §3.2.2: the host that the target names, whatever the header says; and one, by which it was chosen whose
        // homeserver is meant.
        let named = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        if let Some(host) = named.or_else(|| headers.get(header::HOST).cloned()) {
            headers.insert(header::HOST, host);
        }
        // Only the address that is believed: Synapse takes the leftmost one of a list, which a client may have written.
        let address = HeaderValue::try_from(trace.address.to_string()).expect("an address is a valid header");
        headers.insert(FORWARDED_FOR, address);
        if trace.via != Via::TrustedProxy {
            for name in HEARSAY.iter().chain([&FORWARDED_PROTO, &FORWARDED_HOST]) {
                headers.remove(name);
            }
        }
        if !headers.contains_key(FORWARDED_PROTO) {
            let scheme = if trace.via == Via::Https { "https" } else { "http" };
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        }
        if let Some(host) = headers.get(header::HOST).cloned()
            && !headers.contains_key(FORWARDED_HOST)
        {
            headers.insert(FORWARDED_HOST, host);
        }
        parts
    }
}

impl Api {
    /// The homeserver that a request goes to for which there is no endpoint here, if it goes anywhere.
    pub(crate) fn way_out<B>(&self, request: &Request<B>) -> Option<&Arc<Homeserver>> {
        let tenant = self.tenant(request).ok()?;
        let homeserver = tenant.homeserver.as_ref()?;
        // Those never come back: one asks for a tunnel, the other for its own headers.
        let is_passed = ![Method::CONNECT, Method::TRACE].contains(request.method())
            && match &tenant.pass_through {
                PassThrough::Below(prefixes) => leads_to_homeserver(request.uri().path(), prefixes),
                PassThrough::Off => sessions::Ending::of(request.method(), request.uri().path()).is_some(),
            };
        is_passed.then_some(homeserver)
    }
}

/// The homeserver's answer to a request, for which [`Api::way_out`] gave the homeserver.
pub(crate) async fn pass(api: &Arc<Api>, homeserver: &Arc<Homeserver>, head: &Head, body: Body) -> Response {
    let (method, uri) = (head.request.method(), head.request.uri());
    let passed = if wants_websocket(head.request.headers()) {
        let text = "WebSockets are not passed on to the homeserver";
        Err(MatrixError::new(StatusCode::NOT_IMPLEMENTED, "M_UNRECOGNIZED", text))
    } else {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let body = ClientBody::new(body, api.parts.body_idle_timeout);
        let request = Request::from_parts(head.forwarded(target), body);
        match sessions::Ending::of(method, uri.path()) {
            None => passing::passed_on(api, homeserver, request).await,
            Some(ending) => sessions::passed_on(api, homeserver, head, ending, request).await,
        }
    };
    passed.unwrap_or_else(|error| {
        let mut response = error.into_response();
        response.extensions_mut().insert(Passed::Failure);
        response
    })
}

/// Whether the client wants to go on in another protocol, and not in HTTP.
fn wants_websocket(headers: &HeaderMap) -> bool {
    let protocols =
        headers.get_all(header::UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    protocols.map(<[u8]>::trim_ascii).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// The homeserver's answer, passed on as it is.
pub(crate) fn passed<B>(answer: axum::http::Response<B>) -> Response
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut response = answer.map(Body::new);
    response.extensions_mut().insert(Passed::Answer);
    response
}
