//! `GET /_tintype/cdn/v1/{location}`: what a CDN reads, with a URL that was signed here (see `tintype_repository::Cdn`).

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use tintype_repository::{CdnError, StorageError};
use tintype_storage::blobs::BlobsError;

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    serve::{Representation, Source, entity_tag, respond},
};

/// How long a CDN may keep an answer, apart from how long its clients may (RFC 9213).
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The same, for nginx: a time since 1970.
const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

/// Serves a blob to whoever has a URL for it: with the headers that a client of ours would have got with it.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let target = head.request.uri().path_and_query().map_or("/", |target| target.as_str());
    let opened = api.parts.repository.open_for_cdn(target).await.map_err(refusal)?;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| MatrixError::not_found());
    let representation = Representation {
        source: Source::Known(opened.content, opened.size),
        etag: entity_tag(&opened.sha256),
        content_type: value(&opened.headers.content_type)?,
        disposition: value(&opened.headers.content_disposition)?,
        cache_control: value(&opened.headers.cache_control)?,
    };
    let response = respond(&head.request, &representation, &*api.parts.randomness).await;
    let mut response = response.map_err(|error| refusal(error.into()))?;
    // Never longer than the URL holds: what the CDN has it gives to whoever has the URL, without asking.
    let headers = response.headers_mut();
    headers.insert(CDN_CACHE_CONTROL, value(&format!("max-age={}", opened.holds_for.as_secs()))?);
    headers.insert(X_ACCEL_EXPIRES, value(&format!("@{}", opened.expires))?);
    Ok(response)
}

fn refusal(error: CdnError) -> MatrixError {
    match error {
        CdnError::Forged | CdnError::Expired => {
            MatrixError::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", "The URL is not valid, or not any more")
        }
        CdnError::Blobs(BlobsError::NotFound(_)) => MatrixError::not_found(),
        CdnError::Blobs(error) => MatrixError::from(&StorageError::from(error)),
    }
}
