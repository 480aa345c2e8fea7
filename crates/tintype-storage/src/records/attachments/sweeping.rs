//! What time does to the journal of attaching: what stays unknown too long ends, what is finished is forgotten, and what is
//! not known of an event is asked for.

use std::time::Duration;

use tintype_domain::{EventId, Mxc, OwnedEventId, OwnedRoomId, OwnedUserId, Timestamp};

use super::ANSWERS_RETRIES;
use crate::records::sql::{Connection, query, query_as};
use crate::{
    blobs::PartialName,
    records::{
        LinkedEvent, Records, RecordsError, RemoveOutcome, Statement,
        deletions::remove_media,
        linked::{learn_event, mxc_from},
    },
};

/// How often the visibility at an event is asked for before it is given up: for about three weeks.
const MAX_TRIES: i64 = 30;

/// The longest time between two questions.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// Deletes media of which nobody knows whether it is attached, when its time is over.
#[derive(Debug, Clone, Copy)]
pub struct EndUnresolved {
    /// When.
    pub now: Timestamp,
    /// What was forwarded later than this is left alone for a while.
    pub settled_before: Timestamp,
    /// Pieces of media at most.
    pub limit: u32,
}

/// Media that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttachment {
    /// Which.
    pub mxc: Mxc,
    /// What was kept of an upload that was still to be gone on with.
    pub partial: Option<PartialName>,
}

/// An event of which the history visibility is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibilityQuestion {
    /// Which.
    pub event_id: OwnedEventId,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
}

/// A room that was created with an avatar, of which it is not known which event set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnresolvedRoom {
    /// Which.
    pub room_id: OwnedRoomId,
    /// Who created it.
    pub creator: OwnedUserId,
}

impl Records {
    /// Rooms that were created with an avatar, of which it is not known which event set it.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn unresolved_rooms(&self, limit: u32) -> Result<Vec<UnresolvedRoom>, RecordsError> {
        let rows: Vec<(String, String)> = query_as(
            "SELECT room_id, user_id FROM attachments
             WHERE kind = 'room' AND state = 'unknown' AND room_id IS NOT NULL ORDER BY id DESC LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let inconsistent = |room: &str| RecordsError::Inconsistent(format!("the room {room}"));
        let unresolved = |(room_id, creator): (String, String)| {
            Ok(UnresolvedRoom {
                creator: creator.try_into().map_err(|_| inconsistent(&room_id))?,
                room_id: room_id.clone().try_into().map_err(|_| inconsistent(&room_id))?,
            })
        };
        rows.into_iter().map(unresolved).collect()
    }

    /// Deletes media of which nobody knows whether it is attached, and tells which.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was deleted.
    pub async fn end_unresolved(&self, end: EndUnresolved) -> Result<Vec<EndedAttachment>, RecordsError> {
        self.write(end).await
    }

    /// Forgets finished requests that no longer answer retries, `limit` at most, and tells how many.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn forget_attachments(&self, now: Timestamp, limit: u32) -> Result<u64, RecordsError> {
        self.write(Forget { before: now - ANSWERS_RETRIES, limit }).await
    }

    /// Events of which the history visibility is to be asked for now.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn visibility_questions(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<VisibilityQuestion>, RecordsError> {
        let rows: Vec<(String, String, String)> = query_as(
            "SELECT q.event_id, e.room_id, e.sender FROM visibility_questions q
             JOIN linked_events e ON e.event_id = q.event_id
             WHERE q.due <= $1 AND e.room_id IS NOT NULL AND e.sender IS NOT NULL ORDER BY q.due LIMIT $2",
        )
        .bind(now.as_millis())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let inconsistent = |event: &str| RecordsError::Inconsistent(format!("the event {event}"));
        let question = |(event_id, room_id, sender): (String, String, String)| {
            Ok(VisibilityQuestion {
                room_id: room_id.try_into().map_err(|_| inconsistent(&event_id))?,
                sender: sender.try_into().map_err(|_| inconsistent(&event_id))?,
                event_id: EventId::parse(&event_id).map_err(|_| inconsistent(&event_id))?,
            })
        };
        rows.into_iter().map(question).collect()
    }

    /// Writes down the history visibility at an event; if none was learnt, it is asked for again later.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn learn_visibility(
        &self,
        event_id: OwnedEventId,
        visibility: Option<String>,
        now: Timestamp,
    ) -> Result<(), RecordsError> {
        self.write(LearnVisibility { event_id, visibility, now }).await
    }
}

impl Statement for EndUnresolved {
    type Output = Vec<EndedAttachment>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<EndedAttachment>, RecordsError> {
        let over: Vec<(String, String)> = query_as(
            "SELECT l.server_name, l.media_id FROM attachments a JOIN linked_media l ON l.attachment_id = a.id
             WHERE a.state = 'unknown' AND l.state = 'attaching' AND l.unattached_until <= $1 AND a.updated_at <= $2
             LIMIT $3",
        )
        .bind(self.now.as_millis())
        .bind(self.settled_before.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut ended = Vec::with_capacity(over.len());
        for (server_name, media_id) in over {
            let mxc = mxc_from(&server_name, &media_id)?;
            let partial = match remove_media(connection, &mxc, self.now).await? {
                RemoveOutcome::Unreserved { partial } => partial,
                RemoveOutcome::Removed { .. } | RemoveOutcome::Nothing => None,
            };
            // Where there was nothing, the link went with nothing.
            query("DELETE FROM linked_media WHERE server_name = $1 AND media_id = $2")
                .bind(&server_name)
                .bind(&media_id)
                .execute(&mut *connection)
                .await?;
            ended.push(EndedAttachment { mxc, partial });
        }
        // Also of media that went by another way.
        query(
            "DELETE FROM attachments WHERE state = 'unknown'
             AND NOT EXISTS (SELECT 1 FROM linked_media l WHERE l.attachment_id = attachments.id)",
        )
        .execute(connection)
        .await?;
        Ok(ended)
    }
}

struct Forget {
    before: Timestamp,
    limit: u32,
}

impl Statement for Forget {
    type Output = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, RecordsError> {
        let forgotten = query(
            "DELETE FROM attachments WHERE id IN
             (SELECT id FROM attachments WHERE state = 'finished' AND updated_at <= $1 LIMIT $2)",
        )
        .bind(self.before.as_millis())
        .bind(self.limit)
        .execute(connection)
        .await?;
        Ok(forgotten.rows_affected())
    }
}

struct LearnVisibility {
    event_id: OwnedEventId,
    visibility: Option<String>,
    now: Timestamp,
}

impl Statement for LearnVisibility {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        let tries: Option<(i64,)> = query_as("SELECT tries FROM visibility_questions WHERE event_id = $1")
            .bind(self.event_id.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let tries = tries.map_or(0, |(tries,)| tries);
        if self.visibility.is_some() || tries >= MAX_TRIES {
            if self.visibility.is_some() {
                let visibility = self.visibility.clone();
                learn_event(connection, &self.event_id, &LinkedEvent { visibility, ..LinkedEvent::default() }).await?;
            }
            query("DELETE FROM visibility_questions WHERE event_id = $1")
                .bind(self.event_id.as_str())
                .execute(connection)
                .await?;
            return Ok(());
        }
        let pause = Duration::from_mins(1 << tries.min(16)).min(LONGEST_PAUSE);
        query("UPDATE visibility_questions SET due = $1, tries = tries + 1 WHERE event_id = $2")
            .bind((self.now + pause).as_millis())
            .bind(self.event_id.as_str())
            .execute(connection)
            .await?;
        Ok(())
    }
}
