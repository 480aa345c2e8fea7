//! An event as the homeserver tells an application service of it, or as it stands in the state of a room.

use serde_json::{Map, Value};
use tintype_domain::{Mxc, OwnedEventId, OwnedRoomId, OwnedUserId};

/// Stripped state events of an invitation that are looked at. The specification names seven types.
const MAX_STRIPPED: usize = 50;

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
    /// What an invitation or a knock shows of the room (client-server API, "Stripped state").
    pub stripped: Vec<StrippedState>,
}

/// What an invitation shows of the state of its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrippedState {
    /// The type of the state event.
    pub event_type: String,
    /// Its state key.
    pub state_key: String,
    /// Its ID, which is seldom said.
    pub event_id: Option<OwnedEventId>,
    /// The avatar that it names.
    pub avatar: Option<Mxc>,
}

/// Why something is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEvent {
    /// It is no object.
    #[error("it is no object")]
    NoObject,
    /// A field is missing, or is not what it should be.
    #[error("its {0} is missing or is none")]
    Field(&'static str),
}

impl StreamEvent {
    /// The event that this JSON is.
    ///
    /// # Errors
    /// [`MalformedEvent`] if it lacks what every event has.
    pub fn from_json(event: Value) -> Result<Self, MalformedEvent> {
        let Value::Object(mut event) = event else { return Err(MalformedEvent::NoObject) };
        let Some(Value::Object(content)) = event.remove("content") else {
            return Err(MalformedEvent::Field("content"));
        };
        let text = |field: &'static str| event.get(field).and_then(Value::as_str).ok_or(MalformedEvent::Field(field));
        let redacts = [event.get("redacts"), content.get("redacts")];
        let redacts = redacts.into_iter().flatten().find_map(|redacts| redacts.as_str()?.try_into().ok());
        Ok(Self {
            event_id: text("event_id")?.try_into().map_err(|_| MalformedEvent::Field("event_id"))?,
            room_id: text("room_id")?.try_into().map_err(|_| MalformedEvent::Field("room_id"))?,
            sender: text("sender")?.try_into().map_err(|_| MalformedEvent::Field("sender"))?,
            event_type: text("type")?.to_owned(),
            state_key: event.get("state_key").and_then(Value::as_str).map(str::to_owned),
            redacts,
            stripped: stripped(&event),
            content,
        })
    }

    /// The avatar that it gives a room or a member.
    pub(super) fn avatar(&self) -> Option<Mxc> {
        match self.event_type.as_str() {
            "m.room.avatar" => mxc_in(&self.content, "url"),
            "m.room.member" => mxc_in(&self.content, "avatar_url"),
            _ => None,
        }
    }
}

fn mxc_in(content: &Map<String, Value>, field: &str) -> Option<Mxc> {
    content.get(field)?.as_str()?.parse().ok()
}

fn stripped(event: &Map<String, Value>) -> Vec<StrippedState> {
    let unsigned = event.get("unsigned").and_then(Value::as_object);
    let state = unsigned.and_then(|unsigned| {
        ["invite_room_state", "knock_room_state"].iter().find_map(|name| unsigned.get(*name)?.as_array())
    });
    let states = state.into_iter().flatten().take(MAX_STRIPPED);
    states
        .filter_map(|state| {
            let content = state.get("content")?.as_object()?;
            let avatar = mxc_in(content, "url").or_else(|| mxc_in(content, "avatar_url"));
            Some(StrippedState {
                event_type: state.get("type")?.as_str()?.to_owned(),
                state_key: state.get("state_key")?.as_str()?.to_owned(),
                event_id: state.get("event_id").and_then(|id| id.as_str()?.try_into().ok()),
                avatar,
            })
        })
        .collect()
}

impl StrippedState {
    pub(super) fn to_json(&self) -> Value {
        serde_json::json!({
            "type": self.event_type,
            "state_key": self.state_key,
            "event_id": self.event_id.as_ref().map(|id| id.as_str()),
            "avatar": self.avatar.as_ref().map(ToString::to_string),
        })
    }

    pub(super) fn from_json(state: &Value) -> Option<Self> {
        Some(Self {
            event_type: state["type"].as_str()?.to_owned(),
            state_key: state["state_key"].as_str()?.to_owned(),
            event_id: state["event_id"].as_str().and_then(|id| id.try_into().ok()),
            avatar: state["avatar"].as_str().and_then(|avatar| avatar.parse().ok()),
        })
    }
}
