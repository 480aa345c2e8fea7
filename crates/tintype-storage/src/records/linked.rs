//! Restricted media, and what it is attached to (MSC3911).
//!
//! Media of ours that is restricted has a row in `linked_media`, from when it is uploaded or reserved. It is attached
//! once, to an event or to a profile, and for ever. What is known of the events is in `linked_events`, also of those that
//! media of other servers is attached to.

use sqlx::FromRow;
use tintype_domain::{Audience, EventId, Mxc, OwnedEventId, OwnedRoomId, OwnedUserId, Timestamp, UserId};

use super::{Records, RecordsError, Statement};
use crate::records::sql::{Connection, query, query_as};

/// Who may see a piece of restricted media of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who uploaded it, or will.
    pub uploader: OwnedUserId,
    /// Who may see it.
    pub audience: Audience,
    /// Since when the event that it is attached to is redacted, if it is.
    pub redacted_at: Option<Timestamp>,
}

/// An event that media is attached to, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkedEvent {
    /// Its room.
    pub room_id: Option<OwnedRoomId>,
    /// Who sent it.
    pub sender: Option<OwnedUserId>,
    /// Its type.
    pub event_type: Option<String>,
    /// Its state key; none for a message, and where nothing is known.
    pub state_key: Option<String>,
    /// The history visibility at the event.
    pub visibility: Option<String>,
    /// Where in the stream of the application service it was.
    pub position: Option<i64>,
    /// Since when it is redacted, if it is.
    pub redacted_at: Option<Timestamp>,
}

/// The columns of a link, all NULL for media that is not restricted.
#[derive(Debug, Clone, FromRow)]
pub(super) struct LinkColumns {
    pub(super) state: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) profile_user: Option<String>,
    pub(super) redacted_at: Option<i64>,
}

impl LinkColumns {
    /// None for what this program would never write.
    pub(super) fn into_audience(self) -> Option<Audience> {
        Some(match (self.state.as_deref(), self.event_id, self.profile_user) {
            (None, None, None) => Audience::Everyone,
            (Some("unattached"), None, None) => Audience::Uploader,
            (Some("attaching"), None, None) => Audience::Attaching,
            (Some("attached"), Some(event_id), None) => Audience::Event(event_id.try_into().ok()?),
            (Some("attached"), None, Some(user_id)) => Audience::Profile(user_id.try_into().ok()?),
            _ => return None,
        })
    }
}

#[derive(FromRow)]
struct LinkRow {
    uploader: String,
    #[sqlx(flatten)]
    columns: LinkColumns,
}

#[derive(FromRow)]
struct LinkedEventRow {
    room_id: Option<String>,
    sender: Option<String>,
    event_type: Option<String>,
    state_key: Option<String>,
    visibility: Option<String>,
    position: Option<i64>,
    redacted_at: Option<i64>,
}

impl Records {
    /// Who may see media of ours, whether it is uploaded already or only reserved; none if it is not restricted.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_link(&self, mxc: &Mxc) -> Result<Option<Link>, RecordsError> {
        let row: Option<LinkRow> = query_as(
            "SELECT l.uploader, l.state, l.event_id, l.profile_user, e.redacted_at
             FROM linked_media l LEFT JOIN linked_events e ON e.event_id = l.event_id
             WHERE l.server_name = $1 AND l.media_id = $2",
        )
        .bind(mxc.server_name.as_str())
        .bind(mxc.media_id.as_str())
        .fetch_optional(&self.readers)
        .await?;
        let inconsistent = || RecordsError::Inconsistent(format!("the link of {mxc}"));
        row.map(|row| {
            Ok(Link {
                uploader: row.uploader.try_into().map_err(|_| inconsistent())?,
                redacted_at: row.columns.redacted_at.map(Timestamp),
                audience: row.columns.into_audience().ok_or_else(inconsistent)?,
            })
        })
        .transpose()
    }

    /// What is known of an event that media is attached to; none if nothing is.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn find_linked_event(&self, event_id: &EventId) -> Result<Option<LinkedEvent>, RecordsError> {
        let row: Option<LinkedEventRow> = query_as(
            "SELECT room_id, sender, event_type, state_key, visibility, position, redacted_at FROM linked_events
             WHERE event_id = $1",
        )
        .bind(event_id.as_str())
        .fetch_optional(&self.readers)
        .await?;
        let inconsistent = || RecordsError::Inconsistent(format!("the event {event_id}"));
        row.map(|row| {
            Ok(LinkedEvent {
                room_id: row.room_id.map(OwnedRoomId::try_from).transpose().map_err(|_| inconsistent())?,
                sender: row.sender.map(OwnedUserId::try_from).transpose().map_err(|_| inconsistent())?,
                event_type: row.event_type,
                state_key: row.state_key,
                visibility: row.visibility,
                position: row.position,
                redacted_at: row.redacted_at.map(Timestamp),
            })
        })
        .transpose()
    }

    /// Puts what is learned of an event to what is known of it: what was known stays.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn learn_event(&self, event_id: OwnedEventId, event: LinkedEvent) -> Result<(), RecordsError> {
        self.write(LearnEvent { event_id, event }).await
    }

    /// Media of ours that is attached to an event.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn media_of_event(&self, event_id: &EventId) -> Result<Vec<Mxc>, RecordsError> {
        let rows: Vec<(String, String)> =
            query_as("SELECT server_name, media_id FROM linked_media WHERE event_id = $1")
                .bind(event_id.as_str())
                .fetch_all(&self.readers)
                .await?;
        rows.into_iter().map(|(server_name, media_id)| mxc_from(&server_name, &media_id)).collect()
    }
}

struct LearnEvent {
    event_id: OwnedEventId,
    event: LinkedEvent,
}

impl Statement for LearnEvent {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        learn_event(connection, &self.event_id, &self.event).await
    }
}

/// A name as it is recorded.
pub(super) fn mxc_from(server_name: &str, media_id: &str) -> Result<Mxc, RecordsError> {
    Mxc::from_parts(server_name, media_id)
        .map_err(|_| RecordsError::Inconsistent(format!("the media {server_name}/{media_id}")))
}

/// Records that media under this name, stored or reserved, is restricted. Of what was reserved before and is stored now,
/// only the time changes when it goes: who may see it was decided with the reservation, or since.
pub(super) async fn insert_link(
    connection: &mut Connection,
    mxc: &Mxc,
    uploader: &UserId,
    created_at: Timestamp,
    unattached_until: Timestamp,
) -> Result<(), RecordsError> {
    query(
        "INSERT INTO linked_media (server_name, media_id, uploader, created_at, unattached_until)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (server_name, media_id) DO UPDATE SET unattached_until = $5
         WHERE linked_media.state = 'unattached'",
    )
    .bind(mxc.server_name.as_str())
    .bind(mxc.media_id.as_str())
    .bind(uploader.as_str())
    .bind(created_at.as_millis())
    .bind(unattached_until.as_millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts together what is known of an event: what was known stays, what was not is filled in.
///
/// Whoever learns of an event is about to link something to it. What is linked to a redacted one is dead on arrival: it is
/// removed with the next sweep, if the time of what was there before is over; and a redaction that could not be decided is
/// looked at again.
pub(super) async fn learn_event(
    connection: &mut Connection,
    event_id: &EventId,
    event: &LinkedEvent,
) -> Result<(), RecordsError> {
    query(
        "INSERT INTO linked_events (event_id, room_id, sender, event_type, state_key, visibility, position)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (event_id) DO UPDATE SET
           room_id = COALESCE(linked_events.room_id, $2), sender = COALESCE(linked_events.sender, $3),
           event_type = COALESCE(linked_events.event_type, $4), state_key = COALESCE(linked_events.state_key, $5),
           visibility = COALESCE(linked_events.visibility, $6), position = COALESCE(linked_events.position, $7),
           removal_due = COALESCE(linked_events.removal_due, linked_events.redacted_at)",
    )
    .bind(event_id.as_str())
    .bind(event.room_id.as_ref().map(|room| room.as_str()))
    .bind(event.sender.as_ref().map(|sender| sender.as_str()))
    .bind(event.event_type.as_deref())
    .bind(event.state_key.as_deref())
    .bind(event.visibility.as_deref())
    .bind(event.position)
    .execute(&mut *connection)
    .await?;
    query(
        "UPDATE redactions SET due_at = noted_at
         WHERE target = $1 AND sender = (SELECT e.sender FROM linked_events e WHERE e.event_id = $1)",
    )
    .bind(event_id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// How an audience of other servers' media is recorded: what kind, and whose.
pub(super) fn remote_columns(audience: &Audience) -> (Option<&'static str>, Option<&str>) {
    match audience {
        Audience::Everyone => (None, None),
        Audience::Event(event_id) => (Some("event"), Some(event_id.as_str())),
        Audience::Profile(user_id) => (Some("profile"), Some(user_id.as_str())),
        // Other servers say of nothing that it is unattached; whatever is not understood is for nobody.
        Audience::Nobody | Audience::Uploader | Audience::Attaching => (Some("nobody"), None),
    }
}

/// The same, read back. None for what this program would never write.
pub(super) fn remote_audience(kind: Option<&str>, id: Option<String>) -> Option<Audience> {
    Some(match (kind, id) {
        (None, None) => Audience::Everyone,
        (Some("event"), Some(id)) => Audience::Event(OwnedEventId::try_from(id).ok()?),
        (Some("profile"), Some(id)) => Audience::Profile(OwnedUserId::try_from(id).ok()?),
        (Some("nobody"), None) => Audience::Nobody,
        _ => return None,
    })
}
