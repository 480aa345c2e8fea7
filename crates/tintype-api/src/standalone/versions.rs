//! `GET /_matrix/client/versions` and `GET /_matrix/federation/v1/version`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
};

/// The versions of the specification whose media endpoints are served here.
pub(crate) async fn client(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    api.owned(&head)?;
    let blocked = !api.parts.repository.takes_unrestricted();
    Ok(ok(&json!({
        "versions": ["v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16"],
        "unstable_features": {
            "fi.mau.msc2246": true,
            "io.github.tintype.resumable_uploads": true,
            "org.matrix.msc3911": true,
            "org.matrix.msc3911.block_unrestricted_media_upload": blocked,
            "org.matrix.msc3916.stable": true,
            "org.matrix.msc4425": true,
        },
    })))
}

/// The name and version of this program.
pub(crate) async fn federation(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    api.owned(&head)?;
    Ok(ok(&json!({ "server": { "name": "Tintype", "version": env!("CARGO_PKG_VERSION") } })))
}
