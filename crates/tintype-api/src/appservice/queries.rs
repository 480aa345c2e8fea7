//! `GET /_matrix/app/v1/users/{userId}` and `GET /_matrix/app/v1/rooms/{roomAlias}` (application service API, "Querying").

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};

use crate::{Api, edge::Head, error::MatrixError};

/// 404: no user and no room is made here.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    api.homeserver(&head.request)?;
    Err(MatrixError::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", "This application service has no users and no rooms"))
}
