//! `GET /_matrix/client/v1/media/config`, and the same under `/_matrix/media`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
};

/// Answers with `m.upload.size`, in bytes.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller(&head).await?;
    let size = api.parts.repository.max_upload_size(&caller)?;
    Ok(ok(&json!({ "m.upload.size": size })))
}
