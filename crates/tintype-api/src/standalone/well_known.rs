//! `GET /.well-known/matrix/server` (server-server API, "Resolving server names").

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
};

/// This server answers for itself: at its own port, or at 443, where this document was found.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let (server_name, _) = api.owned(&head)?;
    let delegated = if server_name.port().is_some() { server_name.to_string() } else { format!("{server_name}:443") };
    Ok(ok(&json!({ "m.server": delegated })))
}
