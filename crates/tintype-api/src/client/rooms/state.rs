//! `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`, with media to attach (MSC3911).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use tintype_storage::records::AttachmentTarget;

use super::room_and_rest;
use crate::{Api, front_door::attaching};

/// Sets the state.
pub(crate) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    attaching::send(&api, request, |uri| {
        let (room_id, rest) = room_and_rest(uri)?;
        let state_key = rest.get(1).cloned().unwrap_or_default().into_owned();
        Ok(AttachmentTarget::State { room_id, event_type: rest[0].clone().into_owned(), state_key })
    })
    .await
}
