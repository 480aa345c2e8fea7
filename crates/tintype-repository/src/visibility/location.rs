//! In which room is this event?
//!
//! Of events that media of ours is attached to it is recorded. The restriction of another server's media names only an
//! event; our own homeserver knows its room, if a user of ours is in it, and tells a server so that signs in its own name.
//! Where it does not, it may show the event to the user, who is asked for in any case.

use serde_json::{Map, Value};
use tintype_domain::{EventId, OwnedRoomId, OwnedUserId};
use tintype_federation::authorization;
use tintype_homeserver::QuestionError;
use tintype_storage::records::LinkedEvent;

use super::{Viewer, events::is_this, sights::Shown};
use crate::{OpenError, Repository};

/// What is known of an event after its room was looked for.
pub(super) enum Located {
    /// Its room; whether the viewer may see it is still to be asked.
    In(LinkedEvent),
    /// Its room, and the homeserver has shown it to the viewer like this.
    Seen(LinkedEvent, Shown),
    /// The homeserver tells neither us nor the viewer of it.
    Nowhere,
}

impl Repository {
    /// The room of an event, and what else is known of it then.
    pub(super) async fn locate(
        &self,
        viewer: &Viewer<'_>,
        event_id: &EventId,
        known: LinkedEvent,
    ) -> Result<Located, OpenError> {
        if known.room_id.is_some() && known.event_type.is_some() {
            return Ok(Located::In(known));
        }
        let Viewer { homeserver, credentials, asker, server, .. } = viewer;
        let key = self.0.federation.signing_key(&server.name);
        let sign = |target: &str| authorization(key?, &server.name, &server.name, "GET", target).ok();
        let told = match key {
            Some(_) => homeserver.event_as_server(event_id, sign).await,
            None => Err(QuestionError::Hidden),
        };
        let silence = match told {
            Ok(event) => {
                if let Some(event) = described(&event, &known) {
                    self.0.records.learn_event(event_id.to_owned(), event.clone()).await?;
                    return Ok(Located::In(event));
                }
                None
            }
            Err(QuestionError::Unavailable(why)) => Some(why),
            Err(error) => {
                // Not in the room, or a key that is not the homeserver's first one: so it will be the next time.
                tracing::debug!(event = %event_id, %error, "the homeserver does not tell its own name of an event");
                None
            }
        };
        match homeserver.event_of_any_room(credentials, Some(asker), event_id).await {
            Ok(event) if is_this(&event, event_id) => match described(&event, &known) {
                Some(known) => {
                    self.0.records.learn_event(event_id.to_owned(), known.clone()).await?;
                    Ok(Located::Seen(known, Shown::of(&event)))
                }
                None => Err(OpenError::Undecided("the homeserver's event has no room".to_owned())),
            },
            Ok(_) => Err(OpenError::Undecided("it answered with another event".to_owned())),
            // Of a room that is known the homeserver can still be asked in the ordinary way.
            Err(QuestionError::Hidden | QuestionError::Unavailable(_)) if known.room_id.is_some() => {
                Ok(Located::In(known))
            }
            Err(QuestionError::Hidden) => match silence {
                Some(why) => Err(OpenError::Undecided(why)),
                None => Ok(Located::Nowhere),
            },
            Err(error) => self.answered(viewer, Err(error)).await,
        }
    }
}

/// What an event says of itself, together with what was known; none if it does not say in which room it is.
fn described(event: &Map<String, Value>, known: &LinkedEvent) -> Option<LinkedEvent> {
    let text = |field: &str| event.get(field).and_then(Value::as_str);
    let room_id = text("room_id").and_then(|room| OwnedRoomId::try_from(room).ok());
    Some(LinkedEvent {
        room_id: Some(known.room_id.clone().or(room_id)?),
        sender: known.sender.clone().or_else(|| OwnedUserId::try_from(text("sender")?).ok()),
        event_type: Some(known.event_type.clone().or_else(|| text("type").map(str::to_owned))?),
        state_key: known.state_key.clone().or_else(|| text("state_key").map(str::to_owned)),
        visibility: known.visibility.clone(),
        position: known.position,
        redacted_at: known.redacted_at,
    })
}
