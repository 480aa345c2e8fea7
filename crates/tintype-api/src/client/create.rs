//! `POST /_matrix/media/v1/create`, and under its unstable name (MSC2246); for restricted media `POST
//! /_matrix/client/unstable/org.matrix.msc3911/media/create` (MSC3911, which has no stable name for it).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tintype_http::query::Query;
use tintype_repository::Reservation;

use crate::{
    Api,
    edge::Head,
    ephemeral::describe_max_age,
    error::{MatrixError, ok},
    restrictions::Maker,
    upload_body::UploadBody,
};

/// The largest body that is looked at, in bytes. Nothing in it counts yet.
const MAX_BODY: usize = 64 * 1024;

/// Answers with a `content_uri` that waits for its upload.
pub(crate) async fn post(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer(&api, request, Maker::Plain).await
}

/// The same, for media that only its uploader sees until it is attached to something. The upload itself goes where every
/// one goes.
pub(crate) async fn post_restricted(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer(&api, request, Maker::Restricted).await
}

async fn answer(api: &Api, request: Request, maker: Maker) -> Response {
    let (head, body) = Head::split(request);
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    match create(api, &head, &mut body, maker).await {
        Ok(answer) => answer,
        Err(error) => {
            body.linger();
            error.into_response()
        }
    }
}

async fn create(api: &Api, head: &Head, body: &mut UploadBody, maker: Maker) -> Result<Response, MatrixError> {
    let caller = api.caller(head).await?;
    let server_name = api.tenant(&head.request)?.server_name.clone();
    let kind = maker.kind(api, &Query::parse(head.request.uri().query())?)?;
    read_object(body).await?;
    let repository = &api.parts.repository;
    let reserved = repository.reserve(&caller, Reservation { server_name, kind }).await?;
    let mut answer = json!({ "content_uri": reserved.mxc.to_string() });
    if let Some(time) = reserved.unused_expires_at {
        answer["unused_expires_at"] = time.as_millis().into();
    }
    describe_max_age(&mut answer, kind, repository.ephemeral_max_age());
    Ok(ok(&answer))
}

/// The proposals ask for an empty object, or allow it; clients that send nothing are served too.
pub(crate) async fn read_object(body: &mut UploadBody) -> Result<(), MatrixError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(tintype_repository::ReceiveError::from)?;
        if bytes.len() + chunk.len() > MAX_BODY {
            let error = format!("the body is larger than {MAX_BODY} bytes");
            return Err(MatrixError::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error));
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", "the body is not an object")),
        Err(error) => {
            let error = format!("the body is not JSON: {error}");
            Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", error))
        }
    }
}
