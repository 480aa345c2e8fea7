//! Redactions: decided, applied to what is linked to their events, and noticed by whoever reads that (MSC3911).
//!
//! A redaction counts when the homeserver applied it, and not before: an `m.room.redaction` can be sent by anybody in the
//! room. What a user redacts of their own is known to be applied; of everything else the homeserver is asked, as somebody
//! who is in the room, whether it shows the event as redacted. Nobody is shown anything of a redacted event from the
//! moment its transaction commits; the bytes go later, in the sweep.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tintype_domain::{EventId, OwnedEventId, OwnedUserId, Timestamp, UserId};
use tintype_homeserver::QuestionError;
use tintype_storage::records::{
    Naming, OfAbandonedRooms, PendingRedaction, RecordsError, RedactedEvent, RedactionTry, RemoteKey, Removed, Unnamed,
    UnnamedFate,
};

use tokio::time::sleep;

use crate::{Fate, Inner, Repository, StorageError, background::Observed, sweep::AFTER_A_FAILURE};

/// Redactions decided, and redacted events whose media is removed, in one transaction.
const AT_ONCE: u32 = 100;

/// Redactions that are asked about before it is looked again which are due: those that something is linked to come first.
const ASKED_AT_ONCE: u32 = 16;

/// Questions about redactions that the homeserver is asked at the same time.
const QUESTIONS: usize = 4;

/// How long after each answer that does not show the event as redacted the homeserver is asked again: it may still be
/// applying the redaction, or may not have the event yet. After the last one the redaction was not applied.
const ASK_AGAIN: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(3),
];

/// As how many members of the room it is asked, beside those whose events it is about.
const MEMBERS: u32 = 3;

/// How long after the first failure to ask the homeserver is asked again; twice as long after each one that follows.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest that is.
const LAST_RETRY: Duration = Duration::from_mins(10);

/// How long it is tried to ask about a redaction at all.
const ASK_FOR: Duration = Duration::from_hours(7 * 24);

impl Repository {
    /// Decides redactions that the stream has told of. What is known is decided when this returns: nobody is given what
    /// belongs to an event that its sender redacted. Of the rest the homeserver is asked in the background.
    pub async fn redactions_due(&self) {
        if let Err(error) = self.decide_redactions().await {
            tracing::warn!(%error, "redactions could not be decided; it is tried again");
            return;
        }
        let observed: Observed = Arc::downgrade(&self.0);
        self.0.background.while_open(async move {
            let Some(inner) = observed.upgrade() else { return };
            // Whoever asks already looks again before long, as does `what_is_due`.
            let Ok(_alone) = inner.asking.try_lock() else { return };
            if let Err(error) = Self(Arc::clone(&inner)).ask_about_redactions().await {
                tracing::warn!(%error, "redactions could not be decided; it is tried again");
                sleep(AFTER_A_FAILURE).await;
            }
        });
    }

    /// The homeserver shows this event as redacted. When this returns nothing that belongs to it is given to anybody.
    ///
    /// # Errors
    /// [`StorageError`] if the records fail.
    pub async fn saw_redacted(&self, event_id: &EventId) -> Result<(), StorageError> {
        let (repository, event_id) = (self.clone(), event_id.to_owned());
        // To its end even if the client has gone: what is committed has to be noticed by those who read.
        let redacting = self.0.background.finish(async move { repository.redact(event_id).await });
        redacting.await.unwrap_or(Err(RecordsError::Closed.into()))
    }

    async fn redact(&self, event_id: OwnedEventId) -> Result<(), StorageError> {
        let now = self.0.clock.now();
        let redacted = self.0.records.redact(event_id, now, self.removal_due(now)).await?;
        if let Some(redacted) = redacted {
            self.cut(&[redacted]).await;
        }
        Ok(())
    }

    fn removal_due(&self, now: Timestamp) -> Timestamp {
        now + self.0.rules.linked.redaction_grace
    }

    async fn decide_redactions(&self) -> Result<(), StorageError> {
        let repository = self.clone();
        let deciding = self.0.background.finish(async move {
            loop {
                let now = repository.0.clock.now();
                let redacted =
                    repository.0.records.decide_redactions(now, repository.removal_due(now), AT_ONCE).await?;
                if redacted.is_empty() {
                    break;
                }
                repository.cut(&redacted).await;
            }
            repository.0.metrics.redactions_pending(repository.0.records.pending_redactions().await?);
            Ok(())
        });
        deciding.await.unwrap_or(Err(RecordsError::Closed.into()))
    }

    /// What belongs to events that are redacted from now on is cut from those who read it.
    async fn cut(&self, redacted: &[RedactedEvent]) {
        let inner = &self.0;
        self.forget_visibility();
        inner.metrics.redactions_applied(redacted.len());
        for event in redacted {
            tracing::debug!(event = %event.event_id, media = event.media.len(), copies = event.copies.len(), "redacted");
            for mxc in &event.media {
                inner.cut(mxc);
            }
            inner.forgotten(&event.copies).await;
        }
        inner.told().await;
        if redacted.iter().any(|event| !event.copies.is_empty()) {
            self.remove_soon();
        }
        if inner.rules.linked.redaction_grace.is_zero()
            && let Err(error) = self.remove_redacted().await
        {
            tracing::warn!(%error, "redacted media could not be removed; it is tried again");
        }
    }

    async fn ask_about_redactions(&self) -> Result<(), StorageError> {
        loop {
            let due = self.0.records.redactions_due(self.0.clock.now(), ASKED_AT_ONCE).await?;
            if due.is_empty() {
                break;
            }
            let asking = due.into_iter().map(|redaction| self.clone().settle(redaction));
            let mut settled = futures_util::stream::iter(asking).buffer_unordered(QUESTIONS);
            while let Some(outcome) = settled.next().await {
                outcome?;
            }
        }
        self.0.metrics.redactions_pending(self.0.records.pending_redactions().await?);
        Ok(())
    }

    /// Asks about one redaction, and writes down what became of it.
    async fn settle(self, redaction: PendingRedaction) -> Result<(), StorageError> {
        let PendingRedaction { event_id, target, .. } = &redaction;
        let answer = self.is_redacted(&redaction).await;
        let now = self.0.clock.now();
        let (why, wait) = match answer {
            Ok(true) => return self.saw_redacted(target).await,
            Ok(false) => (RedactionTry::NotRedacted, ASK_AGAIN.get(redaction.tries as usize).copied()),
            Err(error) => {
                tracing::info!(event = %target, %error, "it is not known whether an event is redacted; it is asked again");
                let wait = FIRST_RETRY.saturating_mul(1 << redaction.failures.min(16)).min(LAST_RETRY);
                (RedactionTry::Failed, (now.since(redaction.noted_at) < ASK_FOR).then_some(wait))
            }
        };
        if let Some(wait) = wait {
            return Ok(self.0.records.postpone_redaction(event_id.clone(), why, now + wait).await?);
        }
        tracing::info!(redaction = %event_id, event = %target, "a redaction was not applied");
        self.0.metrics.redaction_rejected();
        Ok(self.0.records.reject_redaction(event_id.clone()).await?)
    }

    /// Whether the homeserver shows the target of this redaction as redacted to somebody who may see it.
    async fn is_redacted(&self, redaction: &PendingRedaction) -> Result<bool, QuestionError> {
        let unavailable = |why: &str| QuestionError::Unavailable(why.to_owned());
        let homeserver =
            self.0.homeserver(&redaction.tenant).ok_or_else(|| unavailable("the server has no homeserver"))?;
        let askers = self.askers(redaction).await.map_err(|error| unavailable(&error.to_string()))?;
        let mut asked = false;
        for asker in askers {
            let credentials =
                homeserver.credentials_of(&asker).ok_or_else(|| unavailable("there is no application service"))?;
            asked = true;
            match homeserver.event(&credentials, None, &redaction.room_id, &redaction.target).await {
                Ok(event) => return Ok(shows_redacted(&event, redaction)),
                Err(QuestionError::Hidden) => {}
                // Such as a user who was deactivated: others may ask.
                Err(QuestionError::Refused(refusal)) => {
                    tracing::info!(user = %asker, status = refusal.status, "the homeserver does not let us ask as this user");
                }
                Err(error) => return Err(error),
            }
        }
        if asked { Ok(false) } else { Err(unavailable("nobody of ours is known to be in the room")) }
    }

    /// As whom the homeserver may be asked: whoever may see the event whatever the room shows to those who came later, and
    /// then anybody who is in the room.
    async fn askers(&self, redaction: &PendingRedaction) -> Result<Vec<OwnedUserId>, StorageError> {
        let of_ours = |user: &OwnedUserId| user.server_name() == redaction.tenant;
        let mut askers = Vec::new();
        askers.extend(redaction.target_sender.clone().filter(of_ours));
        askers.extend(Some(redaction.sender.clone()).filter(of_ours));
        let members = self.0.records.joined_local_members(&redaction.tenant, &redaction.room_id, MEMBERS);
        for member in members.await? {
            if !askers.contains(&member) {
                askers.push(member);
            }
        }
        Ok(askers)
    }

    /// Removes what nobody needs any more: what belonged to redacted events and to rooms of which everybody is gone, when
    /// its time has come.
    pub(crate) async fn remove_unneeded_links(&self) -> Result<(), StorageError> {
        self.remove_redacted().await?;
        self.remove_departed().await?;
        self.remove_unnamed().await
    }

    async fn remove_departed(&self) -> Result<(), StorageError> {
        let rules = &self.0.rules.linked;
        let of_abandoned_rooms = match rules.abandoned_rooms {
            Fate::Kept => OfAbandonedRooms::Kept,
            Fate::Deleted => OfAbandonedRooms::Removed,
        };
        loop {
            let now = self.0.clock.now();
            let left_by = now - rules.left_rooms_grace;
            let removed = self.0.records.remove_departed(left_by, now, of_abandoned_rooms, AT_ONCE).await?;
            self.removed(&removed).await;
            if !removed.more {
                return Ok(());
            }
        }
    }

    /// Removes media that no event names any more, unless it is somebody's avatar.
    async fn remove_unnamed(&self) -> Result<(), StorageError> {
        if self.0.rules.linked.naming() == Naming::Ignored {
            return Ok(());
        }
        loop {
            let unnamed = self.0.records.unnamed_media(self.0.clock.now(), AT_ONCE).await?;
            let (found, mut settled) = (unnamed.len(), 0);
            for Unnamed { mxc, uploader } in unnamed {
                let fate = match self.avatar_of(&uploader).await {
                    Ok(avatar) if avatar.as_deref() == Some(mxc.to_string().as_str()) => UnnamedFate::Spared,
                    Ok(_) => UnnamedFate::Removed,
                    Err(error) => {
                        tracing::info!(media = %mxc, %error, "whether redacted media is an avatar is not known; it is asked again");
                        continue;
                    }
                };
                let removed = self.0.records.settle_unnamed(mxc, fate, self.0.clock.now()).await?;
                self.0.metrics.redacted_media_removed(removed.media.len());
                self.removed(&removed).await;
                settled += 1;
            }
            if settled == 0 || found < AT_ONCE as usize {
                return Ok(());
            }
        }
    }

    /// The avatar that a user of ours has at the moment.
    async fn avatar_of(&self, user: &UserId) -> Result<Option<String>, QuestionError> {
        let unavailable = |why: &str| QuestionError::Unavailable(why.to_owned());
        let homeserver =
            self.0.homeserver(user.server_name()).ok_or_else(|| unavailable("the server has no homeserver"))?;
        let mut credentials =
            homeserver.credentials_of(user).ok_or_else(|| unavailable("there is no application service"))?;
        // As itself: the user may be deactivated.
        credentials.masquerade.user_id = None;
        match homeserver.profile(&credentials, None, user).await {
            Ok(profile) => Ok(profile.get("avatar_url").and_then(Value::as_str).map(str::to_owned)),
            Err(QuestionError::Hidden) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what belonged to redacted events whose time has come.
    pub(crate) async fn remove_redacted(&self) -> Result<(), StorageError> {
        loop {
            let removed = self.0.records.remove_redacted(self.0.clock.now(), AT_ONCE).await?;
            self.0.metrics.redacted_media_removed(removed.media.len());
            self.removed(&removed).await;
            if !removed.more {
                return Ok(());
            }
        }
    }

    /// Media that was removed is forgotten, cut from those who read it, and its files go.
    pub(crate) async fn removed(&self, removed: &Removed) {
        for mxc in &removed.media {
            self.0.ended(mxc);
        }
        self.0.forgotten(&removed.copies).await;
        self.0.told().await;
        for partial in &removed.partials {
            self.discard_partial(partial).await;
        }
        if !removed.media.is_empty() || !removed.copies.is_empty() {
            self.remove_soon();
        }
    }
}

/// Whether the event, as the homeserver shows it, is redacted. That it is the sender's own is as good: the homeserver may
/// not have come to it yet. An event of another room is none of this redaction's business, whoever answers with it.
fn shows_redacted(event: &Map<String, Value>, redaction: &PendingRedaction) -> bool {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let same_room = text("room_id") == Some(redaction.room_id.as_str());
    same_room && (is_redacted(event) || text("sender") == Some(redaction.sender.as_str()))
}

/// Whether an event that the homeserver showed carries the redaction that was applied to it (client-server API,
/// "Redactions").
pub(crate) fn is_redacted(event: &Map<String, Value>) -> bool {
    let because = event.get("unsigned").and_then(|unsigned| unsigned.get("redacted_because"));
    because.is_some_and(|because| !because.is_null())
}

impl Inner {
    /// Copies of other servers' media that are gone from the records are forgotten, and cut from those who read them.
    pub(crate) async fn forgotten(&self, copies: &[RemoteKey]) {
        for key in copies {
            self.forget(key).await;
            self.cut(&key.mxc);
        }
    }
}
