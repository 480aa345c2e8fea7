//! Paths and methods that are not served here: what is the homeserver's is passed on to it, all else is 404 and 405
//! `M_UNRECOGNIZED` (client-server API, "Unrecognized endpoints").

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, unrecognized},
    front_door,
    upload_body::UploadBody,
};

pub(crate) async fn path(State(api): State<Arc<Api>>, request: Request) -> Response {
    elsewhere_or(&api, request, StatusCode::NOT_FOUND).await
}

pub(crate) async fn method(State(api): State<Arc<Api>>, request: Request) -> Response {
    elsewhere_or(&api, request, StatusCode::METHOD_NOT_ALLOWED).await
}

async fn elsewhere_or(api: &Arc<Api>, request: Request, status: StatusCode) -> Response {
    let (head, body) = Head::split(request);
    match api.way_out(&head.request) {
        // Boxed: whatever is answered here itself should not be as large.
        Some(homeserver) => Box::pin(front_door::pass(api, homeserver, &head, body)).await,
        None => refuse(api, body, status).into_response(),
    }
}

/// A client that is sending a body hears the refusal too: it may be one that knows endpoints which are not here yet.
fn refuse(api: &Api, body: Body, status: StatusCode) -> MatrixError {
    UploadBody::new(body, api.parts.body_idle_timeout).linger();
    unrecognized(status)
}
