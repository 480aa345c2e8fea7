//! `GET /_matrix/client/v3/account/whoami`

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
};

/// Whose access token it is.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    api.owned(&head)?;
    let user = api.user(&head).await?;
    Ok(ok(&json!({ "user_id": user.user_id, "device_id": user.device_id, "is_guest": user.guest })))
}
