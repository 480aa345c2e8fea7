//! Paths and methods that are not served: 404 and 405 `M_UNRECOGNIZED` (client-server API, "Unrecognized endpoints").

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
};

use crate::{
    Api,
    error::{MatrixError, unrecognized},
    upload_body::UploadBody,
};

pub(crate) async fn path(State(api): State<Arc<Api>>, request: Request) -> MatrixError {
    refuse(&api, request, StatusCode::NOT_FOUND)
}

pub(crate) async fn method(State(api): State<Arc<Api>>, request: Request) -> MatrixError {
    refuse(&api, request, StatusCode::METHOD_NOT_ALLOWED)
}

/// A client that is sending a body hears the refusal too: it may be one that knows endpoints which are not here yet.
fn refuse(api: &Api, request: Request, status: StatusCode) -> MatrixError {
    UploadBody::new(request.into_body(), api.parts.body_idle_timeout).linger();
    unrecognized(status)
}
