//! `GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}`, also as `r0` and `v1` (deprecated in v1.11).

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{FIXED, anonymous, from_origin};
use crate::{
    Api, client::thumbnail::thumbnail, edge::Head, error::MatrixError, media_path::MediaPath, redirect::Redirects,
    serve::PUBLIC,
};

/// Serves what is not frozen to anybody.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let path = MediaPath::parse(head.request.uri(), FIXED)?;
    let query = head.request.uri().query();
    let (from_origin, redirects) = (from_origin(query)?, Redirects::asked(query)?);
    thumbnail(&api, &anonymous(&head), path, &head, from_origin, PUBLIC, redirects).await
}
