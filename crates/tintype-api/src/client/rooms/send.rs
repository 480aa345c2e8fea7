//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`, and `POST …/send/{eventType}`, with media to attach
//! (MSC3911).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use tintype_storage::records::AttachmentTarget;

use super::room_and_rest;
use crate::{Api, front_door::attaching};

/// Sends a message once, however often it is asked to.
pub(crate) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    attaching::send(&api, request, |uri| {
        let (room_id, rest) = room_and_rest(uri)?;
        Ok(AttachmentTarget::Transaction { room_id, event_type: rest[0].clone().into_owned() })
    })
    .await
}

/// Sends a message each time: no client of the specification does, but homeservers take it.
pub(crate) async fn post(State(api): State<Arc<Api>>, request: Request) -> Response {
    attaching::send(&api, request, |uri| {
        let (room_id, rest) = room_and_rest(uri)?;
        Ok(AttachmentTarget::Message { room_id, event_type: rest[0].clone().into_owned() })
    })
    .await
}
