//! Rooms that users of ours have left, and what goes with the last of them (MSC3911).
//!
//! When somebody leaves it is written down; whether that was the last of ours is looked at when the grace is over, so that
//! a leave and a return cost nothing. That nobody at all is left in a room can only be known in the moment of the last
//! leave: what happens in a room afterwards nobody tells us.

use serde_json::Value;
use tintype_domain::{Timestamp, UserId};

use super::{
    Records, RecordsError, Statement, StreamEvent, linked::mxc_from, redactions::Removed, remote::forget_of_event,
};
use crate::records::sql::{Connection, query, query_as};

/// What becomes of our own media that is attached to events of a room where nobody is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfAbandonedRooms {
    /// It stays.
    Kept,
    /// It goes.
    Removed,
}

impl Records {
    /// Removes copies of other servers' media that belong to rooms which the last of our users left until `left_by`, and,
    /// if so wanted, what is our own of rooms where nobody is left; `limit` rooms at most.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then nothing was removed.
    pub async fn remove_departed(
        &self,
        left_by: Timestamp,
        now: Timestamp,
        of_abandoned_rooms: OfAbandonedRooms,
        limit: u32,
    ) -> Result<Removed, RecordsError> {
        self.write(RemoveDeparted { left_by, now, of_abandoned_rooms, limit }).await
    }
}

/// Writes down that a user of the server has left a room, or come back. Called before the members of the room are changed.
pub(super) async fn note(
    connection: &mut Connection,
    tenant: &str,
    event: &StreamEvent,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let (Some(user), "m.room.member") = (event.state_key.as_deref(), event.event_type.as_str()) else { return Ok(()) };
    if UserId::parse(user).is_ok_and(|user| user.server_name() != tenant) {
        return Ok(());
    }
    match event.content.get("membership").and_then(Value::as_str) {
        Some("leave" | "ban") => {
            query(
                "INSERT INTO departures (room_id, left_at, abandoned)
                 SELECT $1, $2, CASE WHEN
                   EXISTS (SELECT 1 FROM rooms WHERE tenant = $3 AND room_id = $1 AND known = 1)
                   AND NOT EXISTS (SELECT 1 FROM room_members
                                   WHERE tenant = $3 AND room_id = $1 AND membership = 'join' AND user_id <> $4)
                 THEN 1 ELSE 0 END WHERE 1 = 1
                 ON CONFLICT (room_id) DO UPDATE SET left_at = excluded.left_at, abandoned = excluded.abandoned",
            )
            .bind(event.room_id.as_str())
            .bind(now.as_millis())
            .bind(tenant)
            .bind(user)
            .execute(connection)
            .await?;
        }
        Some("join") => {
            query("DELETE FROM departures WHERE room_id = $1").bind(event.room_id.as_str()).execute(connection).await?;
        }
        _ => {}
    }
    Ok(())
}

struct RemoveDeparted {
    left_by: Timestamp,
    now: Timestamp,
    of_abandoned_rooms: OfAbandonedRooms,
    limit: u32,
}

impl Statement for RemoveDeparted {
    type Output = Removed;

    async fn run(&self, connection: &mut Connection) -> Result<Removed, RecordsError> {
        let rooms: Vec<(String, bool, bool)> = query_as(
            "SELECT d.room_id, d.abandoned = 1,
             EXISTS (SELECT 1 FROM streams s JOIN room_members m ON m.tenant = s.tenant AND m.room_id = d.room_id
                     WHERE m.membership = 'join' AND m.server_name = s.tenant)
             FROM departures d WHERE d.left_at <= $1 ORDER BY d.left_at LIMIT $2",
        )
        .bind(self.left_by.as_millis())
        .bind(self.limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut removed = Removed { more: rooms.len() >= self.limit as usize, ..Removed::default() };
        for (room_id, abandoned, somebody_is_there) in rooms {
            query("DELETE FROM departures WHERE room_id = $1").bind(&room_id).execute(&mut *connection).await?;
            if somebody_is_there {
                continue;
            }
            let events: Vec<(String,)> = query_as(
                "SELECT DISTINCT e.event_id FROM linked_events e JOIN remote_cache r ON r.audience_id = e.event_id
                 WHERE e.room_id = $1",
            )
            .bind(&room_id)
            .fetch_all(&mut *connection)
            .await?;
            for (event_id,) in events {
                removed.copies.extend(forget_of_event(connection, &event_id, self.now).await?);
            }
            if abandoned && self.of_abandoned_rooms == OfAbandonedRooms::Removed {
                let media: Vec<(String, String)> = query_as(
                    "SELECT l.server_name, l.media_id
                     FROM linked_media l JOIN linked_events e ON e.event_id = l.event_id WHERE e.room_id = $1",
                )
                .bind(&room_id)
                .fetch_all(&mut *connection)
                .await?;
                for (server_name, media_id) in media {
                    removed.remove(connection, mxc_from(&server_name, &media_id)?, self.now).await?;
                }
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
super::testing::on_both_engines!("departures/tests.rs");
