//! `PUT /_matrix/client/v3/rooms/{roomId}/state/m.room.member/{userId}` with a restricted avatar: it gets a copy of its own
//! (MSC3911).
//!
//! An avatar belongs to one event or to the profile, and a member event that shows the profile's would show it to fewer or
//! to others than who may see the event. Member events that the homeserver writes by itself keep the profile's.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use tintype_domain::Mxc;
use tintype_repository::CopyError;

use super::state::set_by;
use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    front_door::attaching::{Asked, is_delayed, pass_on, read, refuse, send_read},
};

/// How long a picture that is still being uploaded is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sets a membership, with a copy of the avatar in it, and with what else is to be attached.
pub(super) async fn put(api: &Arc<Api>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let uri = head.request.uri();
    let read_first = api.parts.msc3911.attachments_asked(uri).and_then(|asked| Ok((asked, set_by(uri)?)));
    let (asked, attached_to) = match read_first {
        Ok(read) => read,
        Err(error) => return refuse(api, body, error),
    };
    let body = match read(api, body).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let asked_or_none = asked.as_ref().map(|asked| &asked.media);
    match with_a_copy(api, &head, &body, asked_or_none).await {
        Ok(Some((copy, body))) => {
            let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
            let mut asked = asked.unwrap_or(Asked { media: BTreeSet::new(), target });
            asked.media.insert(copy);
            send_read(api, &head, asked, attached_to, body).await
        }
        Ok(None) => match asked {
            Some(asked) => send_read(api, &head, asked, attached_to, body).await,
            None => pass_on(api, &head, Body::from(body)).await,
        },
        Err(error) => error.into_response(),
    }
}

/// A copy of the avatar, and the content with it; none where there is none to be made.
async fn with_a_copy(
    api: &Api,
    head: &Head,
    body: &Bytes,
    asked: Option<&BTreeSet<Mxc>>,
) -> Result<Option<(Mxc, Bytes)>, MatrixError> {
    let Ok(mut content) = serde_json::from_slice::<Map<String, Value>>(body) else { return Ok(None) };
    let avatar = content.get("avatar_url").and_then(Value::as_str).and_then(|url| url.parse::<Mxc>().ok());
    let Some(avatar) = avatar else { return Ok(None) };
    let is_attached_itself = asked.is_some_and(|media| media.contains(&avatar));
    let is_ours = avatar.server_name == api.tenant(&head.request)?.server_name;
    if !is_ours || is_attached_itself || is_delayed(head.request.uri()) {
        return Ok(None);
    }
    let caller = api.caller(head).await?;
    if !api.parts.repository.is_own_restricted(&caller, &avatar).await? {
        return Ok(None);
    }
    match Box::pin(api.parts.repository.copy(&caller, &avatar, PATIENCE)).await {
        Ok(copy) => {
            content.insert("avatar_url".to_owned(), copy.to_string().into());
            Ok(Some((copy, Value::Object(content).to_string().into())))
        }
        // A membership does not fail because of its picture.
        Err(CopyError::Open(_) | CopyError::Guest | CopyError::Ephemeral) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
