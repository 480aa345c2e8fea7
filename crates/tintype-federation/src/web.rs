//! GET of plain web URLs: `.well-known` files, and what a `Location` points to.
//!
//! Strangers choose these URLs. Only https is spoken, nothing that identifies us is sent, each redirect is a new
//! connection that the address filter sees, and there are few of them. No encoding is offered, so nothing is ever
//! decompressed.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use url::Url;

use crate::{
    OutboundError,
    connector::{Dialer, WebConnector},
    outbound::{USER_AGENT, error_of, pool},
    slots::Slots,
};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// A client for plain web URLs.
pub struct Web {
    client: Client<WebConnector, Empty<Bytes>>,
}

impl Web {
    /// A client that connects to this port where a URL names none.
    pub fn new(dialer: Arc<Dialer>, port: u16) -> Self {
        Self { client: pool().build(WebConnector { dialer, slots: Slots::default(), port }) }
    }

    /// The answer at the end of at most five redirects.
    pub async fn get(&self, url: &Url) -> Result<Response<Incoming>, OutboundError> {
        let mut url = url.clone();
        let mut visited = Vec::new();
        loop {
            url.set_fragment(None);
            let request = Request::get(acceptable(&url)?).header(header::USER_AGENT, USER_AGENT).body(Empty::new());
            let request = request.map_err(|error| OutboundError::Http(error.to_string()))?;
            let response = self.client.request(request).await.map_err(|error| error_of(&error))?;
            let Some(location) = redirect(&response) else { return Ok(response) };
            let location = std::str::from_utf8(location).ok().and_then(|location| url.join(location).ok());
            visited.push(url);
            url = location.ok_or_else(|| OutboundError::Url("a redirect leads to something else".to_owned()))?;
            if visited.len() > MAX_REDIRECTS || visited.contains(&url) {
                return Err(OutboundError::TooManyRedirects);
            }
        }
    }
}

/// The URL as a request's target, if it is one that we fetch from.
fn acceptable(url: &Url) -> Result<Uri, OutboundError> {
    if url.scheme() != "https" {
        return Err(OutboundError::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OutboundError::Url("it carries credentials".to_owned()));
    }
    url.as_str().parse().map_err(|error: http::uri::InvalidUri| OutboundError::Url(error.to_string()))
}

/// Where a redirect leads to; none if this is none.
fn redirect(response: &Response<Incoming>) -> Option<&[u8]> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let location = response.headers().get(header::LOCATION)?;
    redirects.contains(&response.status()).then(|| location.as_bytes())
}
