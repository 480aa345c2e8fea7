//! `POST /_matrix/app/v1/ping` (application service API, "Pinging").

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
};

/// The homeserver asks whether we are there and know each other's tokens.
pub(crate) async fn post(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    api.homeserver(&head.request)?;
    Ok(ok(&json!({})))
}
