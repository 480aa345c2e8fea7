//! `PUT /_matrix/client/v3/profile/{userId}/avatar_url`, with a picture that only its uploader sees so far (MSC3911).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::Uri,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use tintype_domain::{Mxc, OwnedUserId, UserId};
use tintype_http::path::{decode_segment, segments};
use tintype_storage::records::AttachmentTarget;

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    front_door::attaching::{Asked, Attaching, attach, pass_on, read},
};

/// Sets a user's avatar. A picture of this server that is restricted becomes part of the profile; any other is none of our
/// business.
pub(crate) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let body = match read(&api, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    match to_attach(&api, &head, &body).await {
        Ok(None) => pass_on(&api, &head, Body::from(body)).await,
        Ok(Some((asked, user))) => {
            let attached_to = AttachmentTarget::Profile(user);
            attach(&api, &head, Attaching { asked, attached_to, body, content: None }).await
        }
        Err(error) => error.into_response(),
    }
}

async fn to_attach(api: &Api, head: &Head, body: &Bytes) -> Result<Option<(Asked, OwnedUserId)>, MatrixError> {
    let uri = head.request.uri();
    let (Some(user_id), Some(mxc)) = (user_of(uri), avatar(body)) else { return Ok(None) };
    if mxc.server_name != api.tenant(&head.request)?.server_name {
        return Ok(None);
    }
    let caller = api.caller(head).await?;
    let repository = &api.parts.repository;
    let media = repository.restricted_among(&caller, [mxc.clone()]).await?;
    if media.is_empty() || repository.is_in_profile(&caller, &user_id, &mxc).await? {
        return Ok(None);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    Ok(Some((Asked { media, target }, user_id)))
}

/// Whose profile it is, of `/_matrix/client/{version}/profile/{userId}/avatar_url`.
fn user_of(uri: &Uri) -> Option<OwnedUserId> {
    UserId::parse(decode_segment(segments(uri.path()).nth(4)?).ok()?.as_ref()).ok()
}

fn avatar(body: &Bytes) -> Option<Mxc> {
    serde_json::from_slice::<Map<String, Value>>(body).ok()?.get("avatar_url")?.as_str()?.parse().ok()
}
