//! Redactions: which the stream told of, which the homeserver applied, and what goes with them (MSC3911).
//!
//! An `m.room.redaction` is only a wish. It is written down with the transaction that brought it, and decided afterwards:
//! by what is known of the event that it redacts, or by asking the homeserver. An event whose redaction was applied keeps
//! a row in `linked_events`, whatever is attached to it: what is linked to it later is never shown.

use sqlx::FromRow;
use tintype_domain::{EventId, Mxc, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, Timestamp};

use super::{
    Records, RecordsError, RemoteKey, Statement, StreamEvent,
    deletions::{RemoveOutcome, remove_media},
    linked::mxc_from,
    remote::forget_of_event,
};
use crate::blobs::PartialName;
use crate::records::sql::{Connection, query, query_as};

/// The type of events that redact others.
const REDACTION: &str = "m.room.redaction";

/// A redaction that is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRedaction {
    /// Its own ID.
    pub event_id: OwnedEventId,
    /// The server whose homeserver told of it.
    pub tenant: OwnedServerName,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The event that it redacts.
    pub target: OwnedEventId,
    /// Who sent that, if it is known.
    pub target_sender: Option<OwnedUserId>,
    /// When the stream told of it.
    pub noted_at: Timestamp,
    /// How often the homeserver did not show the target as redacted.
    pub tries: u32,
    /// How often the homeserver could not be asked.
    pub failures: u32,
}

/// What a question about a redaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactionTry {
    /// The homeserver does not show the target as redacted.
    NotRedacted,
    /// It could not be asked.
    Failed,
}

/// An event that is redacted from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactedEvent {
    /// Which.
    pub event_id: OwnedEventId,
    /// Media of ours that is attached to it. It is still there, and nobody may see it.
    pub media: Vec<Mxc>,
    /// Copies of other servers' media that belonged to it. They are gone.
    pub copies: Vec<RemoteKey>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Media of ours, or what was reserved for it.
    pub media: Vec<Mxc>,
    /// Copies of other servers' media.
    pub copies: Vec<RemoteKey>,
    /// What was kept of uploads that were still to be gone on with.
    pub partials: Vec<PartialName>,
    /// Whether there may be more that is to be removed now.
    pub more: bool,
}

#[derive(FromRow)]
struct PendingRow {
    event_id: String,
    tenant: String,
    room_id: String,
    sender: String,
    target: String,
    target_sender: Option<String>,
    noted_at: i64,
    tries: i64,
    failures: i64,
}

impl Records {
    /// Decides redactions that are due by what is known of the events that they redact, `limit` of them at most, and tells
    /// which events are redacted from now on.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was decided.
    pub async fn decide_redactions(
        &self,
        now: Timestamp,
        removal_due: Timestamp,
        limit: u32,
    ) -> Result<Vec<RedactedEvent>, RecordsError> {
        self.write(Decide { now, removal_due, limit }).await
    }

    /// Redactions that are due and of which the homeserver has to be asked, `limit` of them at most. Those come first
    /// whose events something here is attached to.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn redactions_due(&self, now: Timestamp, limit: u32) -> Result<Vec<PendingRedaction>, RecordsError> {
        let rows: Vec<PendingRow> = query_as(
            "SELECT r.event_id, r.tenant, r.room_id, r.sender, r.target, e.sender AS target_sender, r.noted_at, r.tries,
             r.failures
             FROM redactions r LEFT JOIN linked_events e ON e.event_id = r.target WHERE r.due_at <= $1
             ORDER BY CASE WHEN e.event_id IS NOT NULL
                             OR EXISTS (SELECT 1 FROM remote_cache c WHERE c.audience_id = r.target)
                      THEN 0 ELSE 1 END, r.due_at LIMIT $2",
        )
        .bind(now.as_millis())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(PendingRow::into_pending).collect()
    }

    /// How many redactions are not decided yet.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn pending_redactions(&self) -> Result<u64, RecordsError> {
        let (count,): (i64,) = query_as("SELECT COUNT(*) FROM redactions").fetch_one(&self.readers).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Writes down that an event is redacted: the homeserver shows it so. None if that was known already.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was written.
    pub async fn redact(
        &self,
        event_id: OwnedEventId,
        now: Timestamp,
        removal_due: Timestamp,
    ) -> Result<Option<RedactedEvent>, RecordsError> {
        self.write(Redact { event_id, now, removal_due }).await
    }

    /// A redaction is to be looked at again at `due_at`.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn postpone_redaction(
        &self,
        event_id: OwnedEventId,
        why: RedactionTry,
        due_at: Timestamp,
    ) -> Result<(), RecordsError> {
        self.write(Postpone { event_id, why, due_at }).await
    }

    /// A redaction was not applied, and is forgotten.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn reject_redaction(&self, event_id: OwnedEventId) -> Result<(), RecordsError> {
        self.write(Reject(event_id)).await
    }

    /// Removes what belonged to redacted events whose time has come, `limit` events at most.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was removed.
    pub async fn remove_redacted(&self, now: Timestamp, limit: u32) -> Result<Removed, RecordsError> {
        self.write(RemoveRedacted { now, limit }).await
    }
}

impl PendingRow {
    fn into_pending(self) -> Result<PendingRedaction, RecordsError> {
        let inconsistent = || RecordsError::Inconsistent(format!("the redaction {}", self.event_id));
        Ok(PendingRedaction {
            tenant: self.tenant.try_into().map_err(|_| inconsistent())?,
            room_id: self.room_id.try_into().map_err(|_| inconsistent())?,
            sender: self.sender.try_into().map_err(|_| inconsistent())?,
            target: self.target.try_into().map_err(|_| inconsistent())?,
            target_sender: self.target_sender.map(OwnedUserId::try_from).transpose().map_err(|_| inconsistent())?,
            noted_at: Timestamp(self.noted_at),
            tries: u32::try_from(self.tries).unwrap_or(u32::MAX),
            failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
            event_id: self.event_id.as_str().try_into().map_err(|_| inconsistent())?,
        })
    }
}

/// Writes down what has to be decided of an event of the stream: whether it redacts another one. It is due at once.
pub(super) async fn note(
    connection: &mut Connection,
    tenant: &str,
    event: &StreamEvent,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let Some(target) = event.redacts.as_ref().filter(|_| event.event_type == REDACTION) else { return Ok(()) };
    query(
        "INSERT INTO redactions (event_id, tenant, room_id, sender, target, noted_at, due_at)
         SELECT $1, $2, $3, $4, $5, $6, $6
         WHERE NOT EXISTS (SELECT 1 FROM linked_events WHERE event_id = $5 AND redacted_at IS NOT NULL)
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(event.event_id.as_str())
    .bind(tenant)
    .bind(event.room_id.as_str())
    .bind(event.sender.as_str())
    .bind(target.as_str())
    .bind(now.as_millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes an event redacted, if it is not yet.
async fn redact(
    connection: &mut Connection,
    event_id: &EventId,
    now: Timestamp,
    removal_due: Timestamp,
) -> Result<Option<RedactedEvent>, RecordsError> {
    let redacted = query(
        "INSERT INTO linked_events (event_id, redacted_at, removal_due) VALUES ($1, $2, $3)
         ON CONFLICT (event_id) DO UPDATE SET redacted_at = $2, removal_due = $3
         WHERE linked_events.redacted_at IS NULL",
    )
    .bind(event_id.as_str())
    .bind(now.as_millis())
    .bind(removal_due.as_millis())
    .execute(&mut *connection)
    .await?;
    // However many asked for it, and whoever did.
    query("DELETE FROM redactions WHERE target = $1").bind(event_id.as_str()).execute(&mut *connection).await?;
    if redacted.rows_affected() == 0 {
        return Ok(None);
    }
    query("UPDATE named_media SET due_at = $2 WHERE event_id = $1 AND due_at IS NULL")
        .bind(event_id.as_str())
        .bind(removal_due.as_millis())
        .execute(&mut *connection)
        .await?;
    let media = media_of(connection, event_id.as_str()).await?;
    let copies = forget_of_event(connection, event_id.as_str(), now).await?;
    Ok(Some(RedactedEvent { event_id: event_id.to_owned(), media, copies }))
}

async fn media_of(connection: &mut Connection, event_id: &str) -> Result<Vec<Mxc>, RecordsError> {
    let rows: Vec<(String, String)> = query_as("SELECT server_name, media_id FROM linked_media WHERE event_id = $1")
        .bind(event_id)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|(server_name, media_id)| mxc_from(&server_name, &media_id)).collect()
}

struct Decide {
    now: Timestamp,
    removal_due: Timestamp,
    limit: u32,
}

impl Statement for Decide {
    type Output = Vec<RedactedEvent>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<RedactedEvent>, RecordsError> {
        // That a user redacts an event of their own needs no question: whoever may send a redaction at all may redact
        // what they sent (room versions 1 and 2: the rules of authorization; 3 and later: "Handling redactions", the
        // same domain is enough), and a homeserver brings application services only events that it has accepted. The
        // room has to be the same, since a redaction in another room applies to nothing.
        let targets: Vec<(String,)> = query_as(
            "SELECT r.target FROM redactions r JOIN linked_events e ON e.event_id = r.target
             WHERE r.due_at <= $1
             AND (e.redacted_at IS NOT NULL OR (e.sender = r.sender AND e.room_id = r.room_id))
             ORDER BY r.due_at LIMIT $2",
        )
        .bind(self.now.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut redacted = Vec::new();
        for (target,) in targets {
            let target = OwnedEventId::try_from(target.as_str())
                .map_err(|_| RecordsError::Inconsistent(format!("the redaction of {target}")))?;
            redacted.extend(redact(connection, &target, self.now, self.removal_due).await?);
        }
        Ok(redacted)
    }
}

struct Redact {
    event_id: OwnedEventId,
    now: Timestamp,
    removal_due: Timestamp,
}

impl Statement for Redact {
    type Output = Option<RedactedEvent>;

    async fn run(&self, connection: &mut Connection) -> Result<Option<RedactedEvent>, RecordsError> {
        redact(connection, &self.event_id, self.now, self.removal_due).await
    }
}

struct Postpone {
    event_id: OwnedEventId,
    why: RedactionTry,
    due_at: Timestamp,
}

impl Statement for Postpone {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        let (tries, failures) = match self.why {
            RedactionTry::NotRedacted => (1_i64, 0_i64),
            RedactionTry::Failed => (0, 1),
        };
        query("UPDATE redactions SET due_at = $2, tries = tries + $3, failures = failures + $4 WHERE event_id = $1")
            .bind(self.event_id.as_str())
            .bind(self.due_at.as_millis())
            .bind(tries)
            .bind(failures)
            .execute(connection)
            .await?;
        Ok(())
    }
}

struct Reject(OwnedEventId);

impl Statement for Reject {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query("DELETE FROM redactions WHERE event_id = $1").bind(self.0.as_str()).execute(connection).await?;
        Ok(())
    }
}

struct RemoveRedacted {
    now: Timestamp,
    limit: u32,
}

impl Statement for RemoveRedacted {
    type Output = Removed;

    async fn run(&self, connection: &mut Connection) -> Result<Removed, RecordsError> {
        let events: Vec<(String,)> =
            query_as("SELECT event_id FROM linked_events WHERE removal_due <= $1 ORDER BY removal_due LIMIT $2")
                .bind(self.now.as_millis())
                .bind(self.limit)
                .fetch_all(&mut *connection)
                .await?;
        let mut removed = Removed { more: events.len() >= self.limit as usize, ..Removed::default() };
        for (event_id,) in events {
            for mxc in media_of(connection, &event_id).await? {
                removed.remove(connection, mxc, self.now).await?;
            }
            // What was fetched while the event was redacted, too.
            removed.copies.extend(forget_of_event(connection, &event_id, self.now).await?);
            // The row stays: whatever is linked to the event later is to go as well.
            query("UPDATE linked_events SET removal_due = NULL WHERE event_id = $1")
                .bind(&event_id)
                .execute(&mut *connection)
                .await?;
        }
        Ok(removed)
    }
}

impl Removed {
    /// Removes a piece of media of ours, or what was reserved for it.
    pub(super) async fn remove(
        &mut self,
        connection: &mut Connection,
        mxc: Mxc,
        now: Timestamp,
    ) -> Result<RemoveOutcome, RecordsError> {
        let outcome = remove_media(connection, &mxc, now).await?;
        if let RemoveOutcome::Unreserved { partial: Some(partial) } = &outcome {
            self.partials.push(partial.clone());
        }
        if outcome != RemoveOutcome::Nothing {
            self.media.push(mxc);
        }
        Ok(outcome)
    }
}

#[cfg(test)]
super::testing::on_both_engines!("redactions/tests.rs");
