//! The door to the homeserver: requests that are passed on to it, and its answers, as they are.

pub(crate) mod versions;

use axum::{
    BoxError,
    body::Body,
    http::{HeaderName, HeaderValue, Request, header, request},
    response::Response,
};
use bytes::Bytes;

use crate::edge::{Head, Via};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What else says where a request came from, and is believed by some homeservers.
const HEARSAY: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-real-ip")];

/// An answer that is the homeserver's own, which nothing is added to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed;

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
        if let Some(authority) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            // RFC 9112 §3.2.2: the target names the host, whatever the header says.
            headers.insert(header::HOST, authority);
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

/// The homeserver's answer, passed on as it is.
pub(crate) fn passed<B>(answer: axum::http::Response<B>) -> Response
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut response = answer.map(Body::new);
    response.extensions_mut().insert(Passed);
    response
}
