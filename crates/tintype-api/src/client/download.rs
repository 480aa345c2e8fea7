//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}]`

use std::sync::Arc;

use axum::{extract::State, http::HeaderValue, response::Response};
use tintype_http::disposition::{disposition_for, format};
use tintype_repository::Caller;

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    media_path::MediaPath,
    serve::{PRIVATE, Representation, respond},
};

/// Segments before the server name.
const FIXED: usize = 5;

/// Serves media to a user.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller(&head).await?;
    let path = MediaPath::parse(head.request.uri(), FIXED)?;
    download(&api, &caller, path, &head, PRIVATE).await
}

/// Serves media to any caller.
pub(crate) async fn download(
    api: &Api,
    caller: &Caller,
    path: MediaPath,
    head: &Head,
    cache_control: HeaderValue,
) -> Result<Response, MatrixError> {
    let media = api.parts.repository.open(caller, &path.mxc).await?;
    let record = media.record();
    let filename = path.filename.as_deref().or(record.filename.as_deref());
    let representation = Representation {
        sha256: record.sha256,
        size: record.size,
        // It came in as a header's value, so it is one.
        content_type: HeaderValue::from_bytes(&record.content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream")),
        disposition: format(disposition_for(&record.content_type), filename),
        cache_control,
        content: media.content,
    };
    Ok(respond(&head.request, &representation, &*api.parts.randomness))
}
