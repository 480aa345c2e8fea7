//! 307: the same media, read elsewhere (MSC3860, MSC3916 part 6).
//!
//! Elsewhere is the object store or a CDN, which know neither our entity tags nor several ranges at once. What needs them
//! is answered from here.

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::Response,
};
use tintype_domain::{Audience, Lifetime};
use tintype_http::{
    conditional::{Precondition, evaluate, range_applies},
    query::Query,
    range::Ranges,
};
use tintype_repository::{Asker, Content, Redirection};
use tintype_storage::blobs::PresignedHeaders;

use crate::{
    Api,
    error::MatrixError,
    serve::{NOT_KEPT, Representation, Source, common_headers},
};

/// Whether the client expects to be sent elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// It does. With the endpoints of MSC3916 everybody has to.
    Expected,
    /// It does not.
    Unexpected,
}

impl Redirects {
    /// What a query of the deprecated endpoints says (`allow_redirect`, which is false if it is not given).
    ///
    /// # Errors
    /// 400 if it is neither true nor false.
    pub(crate) fn asked(query: Option<&str>) -> Result<Self, MatrixError> {
        let allowed = Query::parse(query)?.bool("allow_redirect")?;
        Ok(if allowed == Some(true) { Self::Expected } else { Self::Unexpected })
    }
}

/// The redirect that answers this request; none if it is answered with the media itself.
pub(crate) async fn redirect(
    api: &Api,
    request: &Request<()>,
    redirects: Redirects,
    (lifetime, audience): (Lifetime, &Audience),
    representation: &Representation,
) -> Option<Response> {
    // A URL of the store is signed for GET alone; and for HEAD nothing is read anyway.
    if redirects == Redirects::Unexpected || request.method() != Method::GET {
        return None;
    }
    let Source::Known(content, size) = &representation.source else { return None };
    let (headers, etag) = (request.headers(), &representation.etag);
    if headers.contains_key(header::IF_MATCH) || evaluate(headers, etag) != Precondition::Proceed {
        return None;
    }
    // A tag of the store's own is judged there.
    if headers.contains_key(header::IF_RANGE) && range_applies(headers, etag) {
        return None;
    }
    if matches!(Ranges::requested(headers, *size), Ranges::Many(_) | Ranges::Unsatisfiable) {
        return None;
    }
    let Representation { content_type, disposition, cache_control, .. } = representation;
    let labels = [content_type, disposition, cache_control];
    let redirection = elsewhere(api, Asker::Client, (lifetime, audience), content, *size, labels).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.clone_from(common_headers());
    headers.remove(header::ACCEPT_RANGES);
    headers.insert(header::LOCATION, HeaderValue::from_str(redirection.url.as_str()).ok()?);
    // Kept by the client alone, and only while there is time enough to follow it.
    let seconds = redirection.reusable_for.as_secs();
    let kept = HeaderValue::try_from(format!("private, max-age={seconds}")).unwrap_or(NOT_KEPT);
    headers.insert(header::CACHE_CONTROL, if seconds == 0 { NOT_KEPT } else { kept });
    Some(response)
}

/// Where else the media may be read with these headers: its type, its disposition, and how long it may be kept.
pub(crate) async fn elsewhere(
    api: &Api,
    asker: Asker,
    whose: (Lifetime, &Audience),
    content: &Content,
    size: u64,
    [content_type, content_disposition, cache_control]: [&HeaderValue; 3],
) -> Option<Redirection> {
    let text = |value: &HeaderValue| value.to_str().ok().map(ToOwned::to_owned);
    let headers = PresignedHeaders {
        content_type: text(content_type)?,
        content_disposition: text(content_disposition)?,
        cache_control: text(cache_control)?,
    };
    Box::pin(api.parts.repository.redirection(asker, whose, content, size, headers)).await
}
