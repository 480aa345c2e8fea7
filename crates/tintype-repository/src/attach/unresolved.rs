//! What is still open of attaching, and is looked at every minute: media of which nobody knows whether it is attached, the
//! visibility at events, and finished requests that nobody repeats any more.

use std::time::Duration;

use tintype_storage::records::{EndUnresolved, EndedAttachment, VisibilityQuestion};
use tokio::time::timeout;

use super::visibility_at;
use crate::{Inner, StorageError};

/// How long a request may be retried after its last attempt, though the time of its media is over.
const RETRIED_WITHIN: Duration = Duration::from_mins(10);

/// What is done in one transaction.
const AT_ONCE: u32 = 500;

/// Events whose visibility is asked for in one minute at most.
const QUESTIONS: u32 = 100;

/// How long all of these questions may take.
const QUESTIONS_WITHIN: Duration = Duration::from_secs(30);

/// Does what is due.
pub(crate) async fn sweep(inner: &Inner) -> Result<(), StorageError> {
    end_unresolved(inner).await?;
    while inner.records.forget_attachments(inner.clock.now(), AT_ONCE).await? >= u64::from(AT_ONCE) {}
    // A homeserver that does not answer holds up nothing else that is swept.
    if timeout(QUESTIONS_WITHIN, ask_for_visibility(inner)).await.is_err() {
        tracing::info!("the homeserver is slow to tell the visibility at events; it is asked again");
    }
    Ok(())
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
        inner.records.learn_visibility(question.event_id, visibility, inner.clock.now()).await?;
        inner.heard_of_rooms();
    }
    Ok(())
}

async fn ask(inner: &Inner, question: &VisibilityQuestion) -> Option<String> {
    let homeserver = inner.homeserver_of(&question.sender)?;
    let credentials = homeserver.credentials_of(&question.sender)?;
    visibility_at(homeserver, &credentials, None, &question.room_id, &question.event_id).await
}
