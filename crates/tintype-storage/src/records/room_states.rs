//! The state of a room that is read where the stream does not bring it: of a room that was never seen before, and of one
//! that somebody of ours joined again.
//!
//! It is written in pieces, since the largest rooms have a hundred thousand members and everybody who writes would wait.
//! Only with the last piece is the room known. What the stream brought after the state was asked for counts more than the
//! state, and a state that was asked for before the last user of ours left counts nothing.

use std::collections::HashSet;

use tintype_domain::{OwnedRoomId, OwnedServerName, OwnedUserId, Timestamp};

use super::{
    Membership, Records, RecordsError, RoomToRead, Statement, StreamEvent,
    room_changes::{Change, Origin, Place, member_of},
};
use crate::records::sql::{Connection, query, query_as};

/// Members that are written in one transaction.
const AT_ONCE: usize = 500;

/// Makes a room known by its state.
#[derive(Debug, Clone)]
pub struct ApplyState {
    /// Which room, and since when it is followed.
    pub room: RoomToRead,
    /// Which position the stream had when the state was asked for.
    pub asked_at: i64,
    /// The state events.
    pub state: Vec<StreamEvent>,
}

/// What became of a state that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateOutcome {
    /// The room is known.
    Applied,
    /// Since it was asked for everybody of ours has left, or the room became known.
    Outdated,
}

impl Records {
    /// Makes a room known by its state.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails; then the room is not known yet.
    pub async fn apply_state(&self, read: ApplyState) -> Result<StateOutcome, RecordsError> {
        let ApplyState { room, asked_at, state } = read;
        let (mut members, mut others, mut present) = (Vec::new(), Vec::new(), HashSet::new());
        for event in state {
            let Some((user, membership)) = member_of(&event) else {
                others.push(event);
                continue;
            };
            let has_left = matches!(membership, Membership::Leave | Membership::Ban);
            if !has_left {
                present.insert(user.to_owned());
            }
            if !has_left || user.server_name() == room.tenant {
                members.push(event);
            }
        }
        let reading = Reading { tenant: room.tenant, room_id: room.room_id, since: room.followed_since, asked_at };
        let mut members = members.into_iter().peekable();
        while members.peek().is_some() {
            let members = members.by_ref().take(AT_ONCE).collect();
            let written = self.write(WriteMembers { reading: reading.clone(), members }).await?;
            if written == StateOutcome::Outdated {
                return Ok(written);
            }
        }
        self.write(Finish { reading, others, present }).await
    }

    /// The state of a room could not be read: it is tried again at `again`, or when somebody is seen who can read it.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn room_was_not_read(&self, room: RoomToRead, again: Option<Timestamp>) -> Result<(), RecordsError> {
        self.write(NotRead { room, again }).await
    }
}

/// Which state it is.
#[derive(Clone)]
struct Reading {
    tenant: OwnedServerName,
    room_id: OwnedRoomId,
    since: i64,
    asked_at: i64,
}

impl Reading {
    fn place(&self) -> Place<'_> {
        Place { tenant: &self.tenant, room: &self.room_id }
    }

    /// Whether the room is still followed since then, and not known yet.
    async fn is_wanted(&self, connection: &mut Connection) -> Result<bool, RecordsError> {
        let (wanted,): (bool,) = query_as(
            "SELECT EXISTS (
               SELECT 1 FROM rooms WHERE tenant = $1 AND room_id = $2 AND followed_since = $3 AND known = 0
             )",
        )
        .bind(self.tenant.as_str())
        .bind(self.room_id.as_str())
        .bind(self.since)
        .fetch_one(connection)
        .await?;
        Ok(wanted)
    }
}

struct WriteMembers {
    reading: Reading,
    members: Vec<StreamEvent>,
}

impl Statement for WriteMembers {
    type Output = StateOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<StateOutcome, RecordsError> {
        if !self.reading.is_wanted(connection).await? {
            return Ok(StateOutcome::Outdated);
        }
        let mut servers = HashSet::new();
        for event in &self.members {
            let Some((user, membership)) = member_of(event) else { continue };
            if self.insert(connection, event).await? {
                if matches!(membership, Membership::Join | Membership::Invite) {
                    servers.insert((user.server_name(), membership));
                }
            } else {
                self.merge(connection, event).await?;
            }
        }
        for (server, membership) in servers {
            self.reading.place().open(connection, server, membership, self.reading.since).await?;
        }
        Ok(StateOutcome::Applied)
    }
}

impl WriteMembers {
    /// Records a member of whom nothing is known. Returns whether it is so.
    async fn insert(&self, connection: &mut Connection, event: &StreamEvent) -> Result<bool, RecordsError> {
        let Some((user, membership)) = member_of(event) else { return Ok(false) };
        let inserted = query(
            "INSERT INTO room_members
               (tenant, room_id, user_id, server_name, membership, event_id, sender, position, since, streamed, avatar)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 0, $9)
             ON CONFLICT (tenant, room_id, user_id) DO NOTHING",
        )
        .bind(self.reading.tenant.as_str())
        .bind(self.reading.room_id.as_str())
        .bind(user.as_str())
        .bind(user.server_name().as_str())
        .bind(membership.as_str())
        .bind(event.event_id.as_str())
        .bind(event.sender.as_str())
        .bind(self.reading.since)
        .bind(event.avatar().map(|avatar| avatar.to_string()))
        .execute(connection)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// Lets the state of a member count as far as the stream has brought nothing newer.
    async fn merge(&self, connection: &mut Connection, event: &StreamEvent) -> Result<(), RecordsError> {
        let Some((user, membership)) = member_of(event) else { return Ok(()) };
        let (position, streamed, known_by_event): (i64, bool, bool) = query_as(
            "SELECT position, streamed = 1, event_id IS NOT NULL FROM room_members
             WHERE tenant = $1 AND room_id = $2 AND user_id = $3",
        )
        .bind(self.reading.tenant.as_str())
        .bind(self.reading.room_id.as_str())
        .bind(user.as_str())
        .fetch_one(&mut *connection)
        .await?;
        let is_newer = position > self.reading.asked_at;
        let only_seen = !known_by_event && membership == Membership::Join;
        if is_newer && !only_seen {
            return Ok(());
        }
        // What is newer than an event of the stream, and did not come by it yet, was not before it.
        let position = if streamed { self.reading.asked_at + 1 } else { self.reading.since };
        let change = Change {
            user,
            membership,
            event_id: Some(event.event_id.as_str()),
            sender: Some(&event.sender),
            position,
            origin: Origin::State,
            avatar: event.avatar(),
            stripped: &[],
        };
        self.reading.place().apply(connection, &change).await
    }
}

struct Finish {
    reading: Reading,
    /// What is not about members.
    others: Vec<StreamEvent>,
    /// Who is joined, invited or knocking.
    present: HashSet<OwnedUserId>,
}

impl Statement for Finish {
    type Output = StateOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<StateOutcome, RecordsError> {
        if !self.reading.is_wanted(connection).await? {
            return Ok(StateOutcome::Outdated);
        }
        self.end_absent(connection).await?;
        self.write_others(connection).await?;
        let Reading { tenant, room_id, .. } = &self.reading;
        query("UPDATE rooms SET known = 1, read_due = NULL, read_failures = 0 WHERE tenant = $1 AND room_id = $2")
            .bind(tenant.as_str())
            .bind(room_id.as_str())
            .execute(&mut *connection)
            .await?;
        // They were kept because the state could have said that they are there.
        query(
            "DELETE FROM room_members WHERE tenant = $1 AND room_id = $2 AND server_name <> $1
             AND membership IN ('leave', 'ban')",
        )
        .bind(tenant.as_str())
        .bind(room_id.as_str())
        .execute(connection)
        .await?;
        Ok(StateOutcome::Applied)
    }
}

impl Finish {
    /// Those of whom the stream said that they are there, and the state, asked for later, that they are not.
    async fn end_absent(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        let Reading { tenant, room_id, since, asked_at } = &self.reading;
        let streamed: Vec<(String,)> = query_as(
            "SELECT user_id FROM room_members
             WHERE tenant = $1 AND room_id = $2 AND streamed = 1 AND position >= $3 AND position <= $4
               AND membership IN ('join', 'invite', 'knock')",
        )
        .bind(tenant.as_str())
        .bind(room_id.as_str())
        .bind(*since)
        .bind(*asked_at)
        .fetch_all(&mut *connection)
        .await?;
        for (user,) in streamed {
            let user = OwnedUserId::try_from(user)
                .map_err(|_| RecordsError::Inconsistent(format!("a member of {room_id}")))?;
            if self.present.contains(&user) {
                continue;
            }
            let change = Change {
                user: &user,
                membership: Membership::Leave,
                event_id: None,
                sender: None,
                position: *asked_at,
                origin: Origin::State,
                avatar: None,
                stripped: &[],
            };
            self.reading.place().apply(connection, &change).await?;
        }
        Ok(())
    }

    async fn write_others(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        let Reading { tenant, room_id, since, asked_at } = &self.reading;
        let (visibility_position, avatar_position): (i64, i64) =
            query_as("SELECT visibility_position, avatar_position FROM rooms WHERE tenant = $1 AND room_id = $2")
                .bind(tenant.as_str())
                .bind(room_id.as_str())
                .fetch_one(&mut *connection)
                .await?;
        if visibility_position <= *asked_at {
            // Client-server API, "Room history visibility": what it is where nobody said anything.
            self.reading.place().set_visibility(connection, Some("shared"), *since).await?;
        }
        if avatar_position <= *asked_at {
            query("UPDATE rooms SET avatar = NULL WHERE tenant = $1 AND room_id = $2")
                .bind(tenant.as_str())
                .bind(room_id.as_str())
                .execute(&mut *connection)
                .await?;
        }
        for event in &self.others {
            let is_newer = match event.event_type.as_str() {
                "m.room.history_visibility" => visibility_position > *asked_at,
                "m.room.avatar" => avatar_position > *asked_at,
                _ => true,
            };
            if !is_newer {
                self.reading.place().note_state(connection, event, *since).await?;
            }
        }
        Ok(())
    }
}

struct NotRead {
    room: RoomToRead,
    again: Option<Timestamp>,
}

impl Statement for NotRead {
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), RecordsError> {
        query(
            "UPDATE rooms SET read_due = $4, read_failures = read_failures + 1
             WHERE tenant = $1 AND room_id = $2 AND followed_since = $3 AND known = 0",
        )
        .bind(self.room.tenant.as_str())
        .bind(self.room.room_id.as_str())
        .bind(self.room.followed_since)
        .bind(self.again.map(Timestamp::as_millis))
        .execute(connection)
        .await?;
        Ok(())
    }
}
