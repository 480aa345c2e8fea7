//! How a request that attaches media ends, and how the stream of the application service ends one that is unknown.

use sqlx::FromRow;
use tintype_domain::{EventId, Mxc, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, ServerName, Timestamp};

use super::{super::stream_event::StreamEvent, hash_of_content};
use crate::records::sql::{Connection, query, query_as};
use crate::records::{
    LinkedEvent, Records, RecordsError, Statement,
    linked::{learn_event, mxc_from},
};

/// Writes down what became of a request that was forwarded.
#[derive(Debug, Clone)]
pub struct ConcludeAttachment {
    /// Its number.
    pub id: i64,
    /// What became of it.
    pub outcome: AttachmentOutcome,
    /// When.
    pub now: Timestamp,
}

/// What became of a request that attaches media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachmentOutcome {
    /// There is an event, and the media belongs to it from now on.
    Event {
        /// Which.
        event_id: OwnedEventId,
        /// What is known of it.
        event: LinkedEvent,
        /// When the media is removed if the event is redacted already.
        removal_due: Timestamp,
    },
    /// The media is part of this user's profile from now on.
    Profile(OwnedUserId),
    /// Nothing came of it: the media is free.
    Free,
    /// Nobody knows. An event that the stream brought meanwhile decides, if there was one.
    Unknown {
        /// The room that the request created, where that is known.
        room_id: Option<OwnedRoomId>,
    },
}

/// What was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concluded {
    /// This media is attached.
    Attached(Vec<Mxc>),
    /// This media is free again.
    Freed(Vec<Mxc>),
    /// The media stays taken.
    Unknown,
    /// There is no such request under way any more.
    Over,
}

/// A row of the journal that is not finished.
#[derive(FromRow)]
struct OpenRow {
    id: i64,
    state: String,
    user_id: String,
    room_id: Option<String>,
    event_type: Option<String>,
    state_key: Option<String>,
    content_sha256: Option<Vec<u8>>,
    seen_event_id: Option<String>,
}

/// The columns of an [`OpenRow`].
macro_rules! select_open {
    ($($rest:literal)*) => {
        concat!(
            "SELECT id, state, user_id, room_id, event_type, state_key, content_sha256, seen_event_id FROM attachments ",
            $($rest),*
        )
    };
}

impl Records {
    /// Writes down what became of a request that was forwarded.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing changed.
    pub async fn conclude_attachment(&self, conclude: ConcludeAttachment) -> Result<Concluded, RecordsError> {
        self.write(conclude).await
    }

    /// Ends a request of which nobody knew what became, if it sends just this event of the stream, and returns its media,
    /// which is attached now.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing changed.
    pub async fn heal_attachment(
        &self,
        tenant: &ServerName,
        event: StreamEvent,
        now: Timestamp,
    ) -> Result<Vec<Mxc>, RecordsError> {
        self.write(Heal { tenant: tenant.to_owned(), event, now }).await
    }

    /// Of what is being forwarded by no node that is alive nobody knows what became. Where there is one node only that is
    /// all of it, at its start.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn abandon_attachments(&self, now: Timestamp) -> Result<(), RecordsError> {
        self.write(Abandon { now }).await
    }
}

impl Statement for ConcludeAttachment {
    type Output = Concluded;

    async fn run(&self, connection: &mut Connection) -> Result<Concluded, RecordsError> {
        let row: Option<OpenRow> = query_as(select_open!("WHERE id = $1 AND state = 'forwarding'"))
            .bind(self.id)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return Ok(Concluded::Over) };
        match &self.outcome {
            AttachmentOutcome::Event { event_id, event, removal_due } => {
                let media = attach(connection, self.id, Some(event_id), None, self.now).await?;
                learn(connection, event_id, event, *removal_due, self.now).await?;
                Ok(Concluded::Attached(media))
            }
            AttachmentOutcome::Profile(user) => {
                Ok(Concluded::Attached(attach(connection, self.id, None, Some(user.as_str()), self.now).await?))
            }
            AttachmentOutcome::Free => {
                let media = named(
                    query_as(
                        "UPDATE linked_media SET state = 'unattached', attachment_id = NULL
                         WHERE attachment_id = $1 AND state = 'attaching' RETURNING server_name, media_id",
                    )
                    .bind(self.id)
                    .fetch_all(&mut *connection)
                    .await?,
                )?;
                query("DELETE FROM attachments WHERE id = $1").bind(self.id).execute(connection).await?;
                Ok(Concluded::Freed(media))
            }
            AttachmentOutcome::Unknown { room_id } => {
                let room_id = room_id.as_ref().map(|room| room.as_str());
                Ok(match row.doubt(connection, room_id, self.now).await? {
                    Some(media) => Concluded::Attached(media),
                    None => Concluded::Unknown,
                })
            }
        }
    }
}

struct Heal {
    tenant: OwnedServerName,
    event: StreamEvent,
    now: Timestamp,
}

impl Statement for Heal {
    type Output = Vec<Mxc>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Mxc>, RecordsError> {
        heal(connection, self.tenant.as_str(), &self.event, self.now).await
    }
}

struct Abandon {
    now: Timestamp,
}

impl Statement for Abandon {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        let rows: Vec<OpenRow> = query_as(select_open!(
            "WHERE state = 'forwarding'
             AND (node IS NULL OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = attachments.node))"
        ))
        .fetch_all(&mut *connection)
        .await?;
        for row in rows {
            row.doubt(connection, None, self.now).await?;
        }
        Ok(())
    }
}

impl OpenRow {
    /// Marks a request as unknown, or attaches its media to the event that was seen meanwhile, and tells which.
    async fn doubt(
        &self,
        connection: &mut Connection,
        room_id: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Vec<Mxc>>, RecordsError> {
        if let Some(seen) = &self.seen_event_id {
            let inconsistent = || RecordsError::Inconsistent(format!("the attachment {}", self.id));
            let event_id = EventId::parse(seen).map_err(|_| inconsistent())?;
            let event = LinkedEvent {
                room_id: self.room_id.clone().map(OwnedRoomId::try_from).transpose().map_err(|_| inconsistent())?,
                sender: Some(self.user_id.clone().try_into().map_err(|_| inconsistent())?),
                event_type: self.event_type.clone(),
                state_key: self.state_key.clone(),
                visibility: None,
                position: None,
                redacted_at: None,
            };
            return commit(connection, self.id, &event_id, &event, now).await.map(Some);
        }
        query(
            "UPDATE attachments SET state = 'unknown', room_id = COALESCE(room_id, $1), updated_at = $2 WHERE id = $3",
        )
        .bind(room_id)
        .bind(now.as_millis())
        .bind(self.id)
        .execute(connection)
        .await?;
        Ok(None)
    }
}

/// Whether an event may be one that media is being attached to: a request of its sender that sends such an event, to its
/// room or to one that it creates, is under way or unknown.
pub(in crate::records) async fn expects(
    connection: &mut Connection,
    tenant: &str,
    event: &StreamEvent,
) -> Result<bool, RecordsError> {
    Ok(!open_for(connection, tenant, event).await?.is_empty())
}

/// An event of the stream ends a request of which nobody knew what became: one that sends just this event. Its media is
/// attached, and is returned. Of a request that is under way it is remembered that the event was seen.
pub(in crate::records) async fn heal(
    connection: &mut Connection,
    tenant: &str,
    event: &StreamEvent,
    now: Timestamp,
) -> Result<Vec<Mxc>, RecordsError> {
    let open = open_for(connection, tenant, event).await?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let content = hash_of_content(&event.content);
    let sends_it = |row: &&OpenRow| {
        row.state_key == event.state_key && row.content_sha256.as_deref() == Some(&content.as_bytes()[..])
    };
    // One event is sent by one request; of several that could have sent it, the first.
    let matching = open.iter().filter(sends_it).collect::<Vec<_>>();
    let known_by = |row: &&&OpenRow| row.seen_event_id.as_deref() == Some(event.event_id.as_str());
    if matching.iter().any(|row| known_by(&row)) || is_attached(connection, &event.event_id).await? {
        return Ok(Vec::new());
    }
    let Some(row) = matching.iter().find(|row| row.seen_event_id.is_none()) else { return Ok(Vec::new()) };
    if row.state == "forwarding" {
        query("UPDATE attachments SET seen_event_id = $1, room_id = COALESCE(room_id, $2) WHERE id = $3")
            .bind(event.event_id.as_str())
            .bind(event.room_id.as_str())
            .bind(row.id)
            .execute(connection)
            .await?;
        return Ok(Vec::new());
    }
    let known = LinkedEvent {
        room_id: Some(event.room_id.clone()),
        sender: Some(event.sender.clone()),
        event_type: Some(event.event_type.clone()),
        state_key: event.state_key.clone(),
        visibility: None,
        position: None,
        redacted_at: None,
    };
    commit(connection, row.id, &event.event_id, &known, now).await
}

/// Requests that may have sent an event, the first first.
async fn open_for(
    connection: &mut Connection,
    tenant: &str,
    event: &StreamEvent,
) -> Result<Vec<OpenRow>, RecordsError> {
    Ok(query_as(select_open!(
        "WHERE user_id = $1 AND event_type = $2 AND state <> 'finished' AND tenant = $3
         AND (room_id = $4 OR (kind = 'room' AND room_id IS NULL)) ORDER BY id"
    ))
    .bind(event.sender.as_str())
    .bind(&event.event_type)
    .bind(tenant)
    .bind(event.room_id.as_str())
    .fetch_all(connection)
    .await?)
}

/// Whether a request is known to have sent this event.
async fn is_attached(connection: &mut Connection, event_id: &EventId) -> Result<bool, RecordsError> {
    let row: Option<(i64,)> = query_as("SELECT CAST(1 AS BIGINT) FROM linked_media WHERE event_id = $1")
        .bind(event_id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Attaches the media of a request to an event that is only known from the stream.
async fn commit(
    connection: &mut Connection,
    id: i64,
    event_id: &EventId,
    event: &LinkedEvent,
    now: Timestamp,
) -> Result<Vec<Mxc>, RecordsError> {
    let media = attach(connection, id, Some(event_id), None, now).await?;
    learn(connection, event_id, event, now, now).await?;
    Ok(media)
}

/// Attaches the media of a request, for ever.
async fn attach(
    connection: &mut Connection,
    id: i64,
    event_id: Option<&EventId>,
    profile_user: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Mxc>, RecordsError> {
    let event_id = event_id.map(EventId::as_str);
    query(
        "UPDATE attachments SET state = 'finished', event_id = $1, seen_event_id = NULL, updated_at = $2 WHERE id = $3",
    )
    .bind(event_id)
    .bind(now.as_millis())
    .bind(id)
    .execute(&mut *connection)
    .await?;
    named(
        query_as(
            "UPDATE linked_media SET state = 'attached', event_id = $1, profile_user = $2
             WHERE attachment_id = $3 AND state = 'attaching' RETURNING server_name, media_id",
        )
        .bind(event_id)
        .bind(profile_user)
        .bind(id)
        .fetch_all(connection)
        .await?,
    )
}

/// Writes down what is known of an event that media is attached to now. If it is redacted, the media goes with it; if its
/// visibility is not known, it is to be asked for.
async fn learn(
    connection: &mut Connection,
    event_id: &EventId,
    event: &LinkedEvent,
    removal_due: Timestamp,
    now: Timestamp,
) -> Result<(), RecordsError> {
    learn_event(connection, event_id, event).await?;
    query(
        "UPDATE linked_events SET removal_due = COALESCE(removal_due, $1)
         WHERE event_id = $2 AND redacted_at IS NOT NULL",
    )
    .bind(removal_due.as_millis())
    .bind(event_id.as_str())
    .execute(&mut *connection)
    .await?;
    query(
        "INSERT INTO visibility_questions (event_id, due)
         SELECT event_id, $1 FROM linked_events WHERE event_id = $2 AND visibility IS NULL
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(now.as_millis())
    .bind(event_id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

fn named(rows: Vec<(String, String)>) -> Result<Vec<Mxc>, RecordsError> {
    rows.into_iter().map(|(server_name, media_id)| mxc_from(&server_name, &media_id)).collect()
}
