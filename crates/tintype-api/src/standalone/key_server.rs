//! `GET /_matrix/key/v2/server` (server-server API, "Publishing Keys").

use std::sync::Arc;

use axum::{extract::State, response::Response};
use tintype_federation::server_keys;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
};

/// The signed document with this server's key.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let (server_name, key) = api.owned(&head)?;
    let document = server_keys(server_name, key, api.parts.clock.now()).map_err(|error| {
        tracing::error!(%error, "the server's keys could not be signed");
        MatrixError::internal()
    })?;
    Ok(ok(&document))
}
