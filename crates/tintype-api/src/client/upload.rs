//! `POST /_matrix/media/v3/upload`, and for restricted media `POST
//! /_matrix/client/unstable/org.matrix.msc3911/media/upload`, where the stable names are served `POST
//! /_matrix/client/v1/media/upload` (MSC3911).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tintype_http::query::Query;
use tintype_repository::{Received, Upload};

use crate::{
    Api,
    edge::Head,
    ephemeral::describe_end,
    error::{MatrixError, ok},
    restrictions::Maker,
    upload_body::UploadBody,
};

/// Stores the body and answers with its `content_uri`.
pub(crate) async fn post(State(api): State<Arc<Api>>, request: Request) -> Response {
    upload(&api, request, Maker::Plain).await
}

/// The same, for media that only its uploader sees until it is attached to something.
pub(crate) async fn post_restricted(State(api): State<Arc<Api>>, request: Request) -> Response {
    upload(&api, request, Maker::Restricted).await
}

async fn upload(api: &Api, request: Request, maker: Maker) -> Response {
    let (head, body) = Head::split(request);
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    match receive(api, &head, &mut body, maker).await {
        Ok(Received { mxc, lifetime }) => {
            let mut answer = json!({ "content_uri": mxc.to_string() });
            describe_end(&mut answer, lifetime);
            ok(&answer)
        }
        Err(error) => {
            body.linger();
            error.into_response()
        }
    }
}

async fn receive(api: &Api, head: &Head, body: &mut UploadBody, maker: Maker) -> Result<Received, MatrixError> {
    let caller = api.caller(head).await?;
    let query = Query::parse(head.request.uri().query())?;
    let upload = Upload {
        server_name: api.tenant(&head.request)?.server_name.clone(),
        content_type: content_type(head.request.headers()),
        filename: filename(&query),
        content_length: content_length(head.request.headers()),
        kind: maker.kind(api, &query)?,
    };
    Ok(api.parts.repository.receive(&caller, upload, body).await?)
}

/// The type as it was sent; `application/octet-stream` where none was (v1.12).
pub(crate) fn content_type(headers: &HeaderMap) -> Vec<u8> {
    let sent = headers.get(header::CONTENT_TYPE).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    if sent.is_empty() { b"application/octet-stream".to_vec() } else { sent.to_vec() }
}

/// The length of the body in bytes, if the sender says. A request that says nothing of a body has none (RFC 9112,
/// section 6.3).
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => (!headers.contains_key(header::TRANSFER_ENCODING)).then_some(0),
    }
}

/// The name of the file, if the sender says.
pub(crate) fn filename(query: &Query<'_>) -> Option<String> {
    query.get("filename").filter(|name| !name.is_empty()).map(str::to_owned)
}
