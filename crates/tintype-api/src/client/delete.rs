//! `DELETE /_matrix/client/unstable/org.matrix.msc4425/{serverName}/{mediaId}`, and
//! `DELETE /_matrix/client/v1/media/{serverName}/{mediaId}` where the stable names are served (MSC4425).

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
    media_path::MediaPath,
};

/// Segments before the server name, of which both paths have as many.
const FIXED: usize = 4;

/// Deletes ephemeral media of the user who asks. A body is not asked for, and not read.
pub(crate) async fn delete(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller_anew(&head).await?;
    // What is no name of media is nobody's, as what is not there.
    let path = MediaPath::parse(head.request.uri(), FIXED).map_err(|_| MatrixError::not_yours())?;
    api.parts.repository.delete(&caller, &path.mxc).await?;
    Ok(ok(&json!({})))
}
