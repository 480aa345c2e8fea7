//! `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`, with media to attach (MSC3911).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Uri,
    response::Response,
};
use tintype_storage::records::AttachmentTarget;

use super::{member, room_and_rest};
use crate::{Api, error::MatrixError, front_door::attaching};

/// Sets the state.
pub(crate) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    if matches!(set_by(request.uri()), Ok(AttachmentTarget::State { event_type, .. }) if event_type == "m.room.member")
    {
        return member::put(&api, request).await;
    }
    attaching::send(&api, request, set_by).await
}

/// What a request to this path sets.
pub(super) fn set_by(uri: &Uri) -> Result<AttachmentTarget, MatrixError> {
    let (room_id, rest) = room_and_rest(uri)?;
    let state_key = rest.get(1).cloned().unwrap_or_default().into_owned();
    Ok(AttachmentTarget::State { room_id, event_type: rest[0].clone().into_owned(), state_key })
}
