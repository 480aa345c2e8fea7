//! `POST /_matrix/client/unstable/org.matrix.msc3911/media/copy/{serverName}/{mediaId}`, and
//! `POST /_matrix/client/v1/media/copy/{serverName}/{mediaId}` where the stable names are served (MSC3911).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::create::read_object;
use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
    media_path::MediaPath,
    patience::Patience,
    upload_body::UploadBody,
};

/// Copies media that the user may see, and answers with the `content_uri` of the copy.
pub(crate) async fn post(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    match copy(&api, &head, &mut body).await {
        Ok(answer) => answer,
        Err(error) => {
            body.linger();
            error.into_response()
        }
    }
}

async fn copy(api: &Api, head: &Head, body: &mut UploadBody) -> Result<Response, MatrixError> {
    let caller = api.caller(head).await?;
    let uri = head.request.uri();
    let source = MediaPath::parse(uri, fixed(uri))?.mxc;
    let patience = Patience::asked(uri.query())?;
    read_object(body).await?;
    let copied = api.parts.repository.copy(&caller, &source, patience.time).await;
    let mxc = copied.map_err(|error| patience.refusal(error.into()))?;
    Ok(ok(&json!({ "content_uri": mxc.to_string() })))
}

/// Segments before the server name.
fn fixed(uri: &Uri) -> usize {
    if uri.path().starts_with("/_matrix/client/unstable/") { 6 } else { 5 }
}
