//! An event as the homeserver tells an application service of it.

use serde_json::{Map, Value};
use tintype_domain::{OwnedEventId, OwnedRoomId, OwnedUserId};

/// An event of the stream (application service API, "Pushing events").
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    pub event_type: String,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// Its content.
    pub content: Map<String, Value>,
    /// Which event it redacts, wherever that was said: at the top level or in the content.
    pub redacts: Option<OwnedEventId>,
}
