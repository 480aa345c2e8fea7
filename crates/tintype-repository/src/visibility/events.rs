//! May a user see this event?
//!
//! A message is visible where the homeserver shows it. A state event may have been set before somebody joined, and still
//! be what they see of the room: it is visible, too, where it is the current state that the homeserver shows them, or
//! belongs to what an invitation shows.

use std::sync::Arc;

use serde_json::{Map, Value};
use tintype_domain::{EventId, Mxc, RoomId};
use tintype_homeserver::QuestionError;
use tintype_storage::records::LinkedEvent;

use super::{
    Admission, RedactedMedia, Viewer,
    location::Located,
    sights::{Shown, Sight},
};
use crate::{OpenError, Repository, redact::is_redacted};

/// A state event, by what names it within its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateName<'a> {
    pub(super) event_type: &'a str,
    pub(super) state_key: &'a str,
}

impl Repository {
    /// Whether the viewer may see what belongs to this event, of which so much is known.
    pub(super) async fn judge_event(
        &self,
        viewer: &Viewer<'_>,
        mxc: &Mxc,
        event_id: &EventId,
        event: LinkedEvent,
        redacted: RedactedMedia,
    ) -> Result<Admission, OpenError> {
        if event.redacted_at.is_some() {
            match redacted {
                RedactedMedia::Hidden => return Err(OpenError::NotFound),
                RedactedMedia::Wanted if self.administers(viewer, mxc) => return Ok(Admission::Admitted),
                RedactedMedia::Wanted => {}
            }
        }
        let is_known = event.redacted_at.is_some();
        let (event, seen) = match self.locate(viewer, event_id, event).await? {
            Located::In(event) => (event, None),
            Located::Seen(event, shown) => (event, Some(shown)),
            Located::Nowhere if !is_known && self.is_named_by_its_server(viewer, mxc).await? => {
                return Ok(Admission::Admitted);
            }
            Located::Nowhere => return Err(OpenError::NotVisible),
        };
        let Some(room) = &event.room_id else { return Err(OpenError::NotVisible) };
        let state = match (&event.event_type, &event.state_key) {
            (Some(event_type), Some(state_key)) => Some(StateName { event_type, state_key }),
            _ => None,
        };
        let shown = match seen {
            Some(shown) => shown,
            None => self.sees(viewer, mxc, room, event_id, state).await?,
        };
        if shown == Shown::Redacted && !is_known {
            self.saw_redacted(event_id).await.map_err(|error| OpenError::Storage(Arc::new(error)))?;
        }
        match redacted {
            _ if shown == Shown::AsItIs && !is_known => Ok(Admission::Admitted),
            RedactedMedia::Hidden => Err(OpenError::NotFound),
            RedactedMedia::Wanted if self.administers(viewer, mxc) || self.may_redact(viewer, room).await? => {
                Ok(Admission::Admitted)
            }
            RedactedMedia::Wanted => Err(OpenError::RedactedForOthers),
        }
    }

    /// Whether the viewer administers the server that keeps this media, which may be one of several here.
    fn administers(&self, viewer: &Viewer<'_>, mxc: &Mxc) -> bool {
        viewer.user.admin && (mxc.server_name == viewer.server.name || !self.0.is_ours(mxc))
    }

    /// How the viewer sees the event.
    async fn sees(
        &self,
        viewer: &Viewer<'_>,
        mxc: &Mxc,
        room: &RoomId,
        event_id: &EventId,
        state: Option<StateName<'_>>,
    ) -> Result<Shown, OpenError> {
        let question = shown_event(viewer, room, event_id, state);
        let shown = self.see(viewer, Sight::Event(event_id.to_owned()), question).await;
        match (self.answered(viewer, shown).await, state) {
            (Err(OpenError::NotVisible), Some(state)) => {
                self.seen_with_invitation(viewer, mxc, room, event_id, state).await
            }
            (shown, _) => shown,
        }
    }
}

/// How the homeserver shows the event.
async fn shown_event(
    viewer: &Viewer<'_>,
    room: &RoomId,
    event_id: &EventId,
    state: Option<StateName<'_>>,
) -> Result<Shown, QuestionError> {
    let Viewer { homeserver, credentials, asker, .. } = viewer;
    let shown = homeserver.event(credentials, Some(asker), room, event_id).await;
    match (shown, state) {
        (Err(QuestionError::Hidden), Some(StateName { event_type, state_key })) => {
            let current = homeserver.state_event(credentials, Some(asker), room, event_type, state_key).await?;
            if is_this(&current, event_id) { Ok(Shown::of(&current)) } else { Err(QuestionError::Hidden) }
        }
        (shown, _) => {
            let shown = shown?;
            if !is_this(&shown, event_id) {
                return Err(QuestionError::Unavailable("it answered with another event".to_owned()));
            }
            Ok(Shown::of(&shown))
        }
    }
}

pub(super) fn is_this(event: &Map<String, Value>, event_id: &EventId) -> bool {
    event.get("event_id").and_then(Value::as_str) == Some(event_id.as_str())
}

impl Shown {
    /// As a homeserver shows this event.
    pub(super) fn of(event: &Map<String, Value>) -> Self {
        if is_redacted(event) { Self::Redacted } else { Self::AsItIs }
    }
}
