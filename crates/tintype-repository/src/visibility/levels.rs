//! Who may redact in a room: they are shown what was redacted there, as long as its bytes are kept.

use serde_json::{Map, Value};
use tintype_domain::{RoomId, UserId};
use tintype_homeserver::QuestionError;

use super::Viewer;
use crate::{OpenError, Repository};

/// The level that redacting others' events takes where the room does not say (client-server API, `m.room.power_levels`).
const DEFAULT_REDACT: i64 = 50;

/// The level of a room's creator as long as the room has no levels.
const CREATOR: i64 = 100;

/// The first version of rooms whose creators stand above all levels.
const CREATORS_RULE: u32 = 12;

impl Repository {
    /// Whether the viewer may redact events of others in this room.
    pub(super) async fn may_redact(&self, viewer: &Viewer<'_>, room: &RoomId) -> Result<bool, OpenError> {
        let Viewer { homeserver, credentials, asker, user, .. } = viewer;
        let levels = homeserver.state_content(credentials, Some(asker), room, "m.room.power_levels", "").await;
        let levels = match levels {
            Err(QuestionError::Hidden) => None,
            levels => Some(self.answered(viewer, levels).await?),
        };
        if levels.as_ref().is_some_and(|levels| level_of(levels, &user.user_id) >= redact_level(levels)) {
            return Ok(true);
        }
        let create = match homeserver.state_event(credentials, Some(asker), room, "m.room.create", "").await {
            Err(QuestionError::Hidden) => return Ok(false),
            create => self.answered(viewer, create).await?,
        };
        let is_creator = create.get("sender").and_then(Value::as_str) == Some(user.user_id.as_str());
        let content = create.get("content").and_then(Value::as_object);
        if content.is_some_and(has_creators_above_all) {
            return Ok(is_creator || content.is_some_and(|content| is_additional_creator(content, &user.user_id)));
        }
        Ok(is_creator && levels.is_none() && CREATOR >= DEFAULT_REDACT)
    }
}

fn redact_level(levels: &Map<String, Value>) -> i64 {
    levels.get("redact").and_then(level).unwrap_or(DEFAULT_REDACT)
}

fn level_of(levels: &Map<String, Value>, user: &UserId) -> i64 {
    let own = levels.get("users").and_then(|users| level(users.get(user.as_str())?));
    own.or_else(|| level(levels.get("users_default")?)).unwrap_or(0)
}

/// A level is an integer; in rooms before version 10 it may be one in a string.
fn level(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Whether the creators of this room stand above all levels (room version 12).
fn has_creators_above_all(create: &Map<String, Value>) -> bool {
    let version = create.get("room_version").and_then(Value::as_str).unwrap_or("1");
    version == "org.matrix.hydra.11" || version.parse::<u32>().is_ok_and(|version| version >= CREATORS_RULE)
}

fn is_additional_creator(create: &Map<String, Value>, user: &UserId) -> bool {
    let creators = create.get("additional_creators").and_then(Value::as_array);
    creators.is_some_and(|creators| creators.iter().any(|creator| creator.as_str() == Some(user.as_str())))
}
