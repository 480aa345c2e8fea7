//! `POST /_matrix/client/v3/createRoom`, with an avatar that only its uploader sees so far (MSC3911).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use tintype_domain::Mxc;
use tintype_storage::records::{AttachmentTarget, hash_of_content};

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    front_door::attaching::{Asked, Attaching, attach, pass_on, read},
};

/// Creates a room. Restricted pictures of this server in its avatar are attached to the event that sets it.
pub(crate) async fn post(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let body = match read(&api, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let avatar = avatar(&body);
    match to_attach(&api, &head, avatar.as_ref()).await {
        Ok(None) => pass_on(&api, &head, Body::from(body)).await,
        Ok(Some(asked)) => {
            let content = avatar.as_ref().map(hash_of_content);
            attach(&api, &head, Attaching { asked, attached_to: AttachmentTarget::NewRoom, body, content }).await
        }
        Err(error) => error.into_response(),
    }
}

async fn to_attach(api: &Api, head: &Head, avatar: Option<&Map<String, Value>>) -> Result<Option<Asked>, MatrixError> {
    let server_name = &api.tenant(&head.request)?.server_name;
    let pictures = avatar.map(pictures).unwrap_or_default();
    let pictures = pictures.into_iter().filter(|mxc| mxc.server_name == *server_name).collect::<Vec<_>>();
    if pictures.is_empty() {
        return Ok(None);
    }
    let caller = api.caller(head).await?;
    let media = api.parts.repository.restricted_among(&caller, pictures).await?;
    let target = head.request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    Ok((!media.is_empty()).then_some(Asked { media, target }))
}

/// The content of the `m.room.avatar` in the initial state; the last one, as homeservers take it.
fn avatar(body: &Bytes) -> Option<Map<String, Value>> {
    let mut request = serde_json::from_slice::<Map<String, Value>>(body).ok()?;
    let Value::Array(events) = request.remove("initial_state")? else { return None };
    let is_avatar = |event: &Value| {
        event["type"] == "m.room.avatar" && event.get("state_key").is_none_or(|state_key| state_key == "")
    };
    let event = events.into_iter().rfind(is_avatar)?;
    event.get("content")?.as_object().cloned()
}

/// The picture, and its thumbnail.
fn pictures(avatar: &Map<String, Value>) -> Vec<Mxc> {
    let urls = [avatar.get("url"), avatar.get("info").and_then(|info| info.get("thumbnail_url"))];
    urls.into_iter().flatten().filter_map(|url| url.as_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pictures_in(body: &Value) -> Vec<String> {
        let avatar = avatar(&body.to_string().into());
        avatar.map(|avatar| pictures(&avatar)).unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_pictures_of_the_avatar_are_found() {
        let set = |content: Value| json!({ "type": "m.room.avatar", "state_key": "", "content": content });
        for (initial_state, expected) in [
            (json!([set(json!({ "url": "mxc://a/1" }))]), &["mxc://a/1"][..]),
            (json!([{ "type": "m.room.avatar", "content": { "url": "mxc://a/1" } }]), &["mxc://a/1"]),
            (json!([set(json!({ "url": "mxc://a/1" })), set(json!({ "url": "mxc://a/2" }))]), &["mxc://a/2"]),
            (
                json!([set(json!({ "url": "mxc://a/1", "info": { "thumbnail_url": "mxc://a/2" } }))]),
                &["mxc://a/1", "mxc://a/2"],
            ),
            (json!([set(json!({ "url": "" }))]), &[]),
            (json!([set(json!({ "url": null }))]), &[]),
            (json!([set(json!({ "url": "https://a/1" }))]), &[]),
            (json!([set(json!(7)), 7, null]), &[]),
            (json!([{ "type": "m.room.avatar", "state_key": "x", "content": { "url": "mxc://a/1" } }]), &[]),
            (json!([{ "type": "m.room.name", "content": { "url": "mxc://a/1" } }]), &[]),
            (json!({}), &[]),
            (json!(null), &[]),
        ] {
            assert_eq!(pictures_in(&json!({ "initial_state": initial_state })), expected, "{initial_state}");
        }
        assert_eq!(pictures_in(&json!([])), [""; 0]);
        assert_eq!(pictures_in(&json!({ "preset": "private_chat" })), [""; 0]);
    }
}
