//! What is still open of attaching, and is looked at every minute: media of which nobody knows whether it is attached, the
//! visibility at events, and finished requests that nobody repeats any more.

use std::time::Duration;

use serde_json::Value;
use tintype_domain::{RoomId, UserId};
use tintype_storage::records::{EndUnresolved, EndedAttachment, StreamEvent, UnresolvedRoom, VisibilityQuestion};
use tokio::time::timeout;

use super::visibility_at;
use crate::{Inner, StorageError};

/// How long a request may be retried after its last attempt, though the time of its media is over.
const RETRIED_WITHIN: Duration = Duration::from_mins(10);

/// What is done in one transaction.
const AT_ONCE: u32 = 500;

/// Events, and rooms, that are asked for in one minute at most.
const QUESTIONS: u32 = 100;

/// How long all of these questions may take.
const QUESTIONS_WITHIN: Duration = Duration::from_secs(30);

/// Does what is due.
pub(crate) async fn sweep(inner: &Inner) -> Result<(), StorageError> {
    end_unresolved(inner).await?;
    while inner.records.forget_attachments(inner.clock.now(), AT_ONCE).await? >= u64::from(AT_ONCE) {}
    // A homeserver that does not answer holds up nothing else that is swept.
    let asked = async {
        look_for_avatars(inner).await?;
        ask_for_visibility(inner).await
    };
    timeout(QUESTIONS_WITHIN, asked).await.unwrap_or_else(|_| {
        tracing::info!("the homeserver is slow to tell what is not known of events; it is asked again");
        Ok(())
    })
}

/// Looks for the avatars of rooms that were created, where it was not found which event sets them.
async fn look_for_avatars(inner: &Inner) -> Result<(), StorageError> {
    for UnresolvedRoom { room_id, creator } in inner.records.unresolved_rooms(QUESTIONS).await? {
        let Some(event) = avatar_event(inner, &room_id, &creator).await else { continue };
        let attached = inner.records.heal_attachment(creator.server_name(), event, inner.clock.now()).await?;
        for mxc in &attached {
            inner.call(mxc);
        }
    }
    Ok(())
}

async fn avatar_event(inner: &Inner, room_id: &RoomId, creator: &UserId) -> Option<StreamEvent> {
    let homeserver = inner.homeserver(creator.server_name())?;
    let credentials = homeserver.credentials_of(creator)?;
    let mut event = homeserver.state_event(&credentials, None, room_id, "m.room.avatar", "").await.ok()?;
    let Some(Value::Object(content)) = event.remove("content") else { return None };
    Some(StreamEvent {
        event_id: event.get("event_id")?.as_str()?.try_into().ok()?,
        room_id: room_id.to_owned(),
        sender: event.get("sender")?.as_str()?.try_into().ok()?,
        event_type: "m.room.avatar".to_owned(),
        state_key: Some(String::new()),
        content,
        redacts: None,
        stripped: Vec::new(),
    })
}

/// Deletes media that stayed unknown for as long as it might have stayed unattached.
async fn end_unresolved(inner: &Inner) -> Result<(), StorageError> {
    let now = inner.clock.now();
    loop {
        let end = EndUnresolved { now, settled_before: now - RETRIED_WITHIN, limit: AT_ONCE };
        let ended = inner.records.end_unresolved(end).await?;
        for EndedAttachment { mxc, partial } in &ended {
            tracing::info!(%mxc, "media that may have been attached, which nobody ever knew, is deleted");
            inner.ended(mxc);
            if let Some(name) = partial
                && let Err(error) = inner.blobs.remove_partial(name).await
            {
                tracing::warn!(%error, file = name.as_str(), "an upload that was ended stays until the next start");
            }
        }
        if ended.len() < AT_ONCE as usize {
            return Ok(());
        }
    }
}

/// Asks for the visibility at events as an application service that acts as who sent them: a user's own token is never
/// kept.
async fn ask_for_visibility(inner: &Inner) -> Result<(), StorageError> {
    for question in inner.records.visibility_questions(inner.clock.now(), QUESTIONS).await? {
        let visibility = ask(inner, &question).await;
        let is_known = visibility.is_some();
        inner.records.learn_visibility(question.event_id, visibility, inner.clock.now()).await?;
        if is_known {
            inner.heard_of_rooms();
        }
    }
    Ok(())
}

async fn ask(inner: &Inner, question: &VisibilityQuestion) -> Option<String> {
    let homeserver = inner.homeserver(question.sender.server_name())?;
    let credentials = homeserver.credentials_of(&question.sender)?;
    visibility_at(homeserver, &credentials, None, &question.room_id, &question.event_id).await
}
