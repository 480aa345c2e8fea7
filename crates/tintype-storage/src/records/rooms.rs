//! What is known of rooms: who is in them, and which servers were when. All of it is told by the stream of an application
//! service, and so belongs to one server of ours: the same room may be known to several of them.

use serde_json::Value;
use sqlx::FromRow;
use tintype_domain::{
    Mxc, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, Timestamp, UserId,
};

use super::{Records, RecordsError, StrippedState};
use crate::records::sql::{Connection, query_as};

/// What a user is to a room (client-server API, "Room membership").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// In it.
    Join,
    /// Invited.
    Invite,
    /// Asked to be let in.
    Knock,
    /// Was in it, or was invited.
    Leave,
    /// Kept out.
    Ban,
}

impl Membership {
    /// As events say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }

    /// The membership that an event says; none if there is no such one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Join, Self::Invite, Self::Knock, Self::Leave, Self::Ban].into_iter().find(|own| own.as_str() == text)
    }
}

/// What a user is to a room, and what was said with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What they are to it.
    pub membership: Membership,
    /// The member event, if it is known.
    pub event_id: Option<OwnedEventId>,
    /// Who sent that: who invited them, for one.
    pub sender: Option<OwnedUserId>,
    /// What the invitation or the knock showed of the room.
    pub stripped: Vec<StrippedState>,
}

/// Events from one position of the stream to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The first.
    pub from: i64,
    /// The last; none if it goes on.
    pub until: Option<i64>,
}

/// When a server had users in a room, as far as it is known. What is not said is not known to be so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether everything is known of the room as it is now.
    pub room_is_known: bool,
    /// When at least one of its users was joined, from the earliest on. Intervals may overlap.
    pub joined: Vec<Interval>,
    /// When at least one of its users was invited.
    pub invited: Vec<Interval>,
}

impl Interval {
    fn contains(&self, position: i64) -> bool {
        self.from <= position && self.until.is_none_or(|until| position <= until)
    }
}

impl Presence {
    /// Whether one of its users was joined at the event with this position.
    pub fn was_joined_at(&self, position: i64) -> bool {
        self.joined.iter().any(|interval| interval.contains(position))
    }

    /// Whether one of its users was joined then, or at any time since.
    pub fn was_joined_since(&self, position: i64) -> bool {
        self.joined.iter().any(|interval| interval.until.is_none_or(|until| position <= until))
    }

    /// Whether one of its users was invited at the event with this position.
    pub fn was_invited_at(&self, position: i64) -> bool {
        self.invited.iter().any(|interval| interval.contains(position))
    }

    /// Whether one of its users is joined now.
    pub fn is_joined(&self) -> bool {
        self.joined.iter().any(|interval| interval.until.is_none())
    }

    /// Whether one of its users is invited now.
    pub fn is_invited(&self) -> bool {
        self.invited.iter().any(|interval| interval.until.is_none())
    }
}

/// A room whose state is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomToRead {
    /// The server of ours whose homeserver is to be asked.
    pub tenant: OwnedServerName,
    /// The room.
    pub room_id: OwnedRoomId,
    /// From which position on its events came by themselves: which reading it is.
    pub followed_since: i64,
    /// How often reading it failed so far.
    pub failures: u32,
}

/// How many rooms are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// Those of which the whole state is known.
    pub known: u64,
    /// Those of which it is not.
    pub unknown: u64,
}

#[derive(FromRow)]
struct MemberRow {
    room_id: String,
    membership: String,
    event_id: Option<String>,
    sender: Option<String>,
    stripped: Option<String>,
}

impl MemberRow {
    fn into_member(self, user: &UserId) -> Result<Member, RecordsError> {
        let inconsistent = || RecordsError::Inconsistent(format!("the membership of {user} in {}", self.room_id));
        let stripped = self.stripped.as_deref().map(serde_json::from_str::<Vec<Value>>).transpose();
        let stripped = stripped.map_err(|_| inconsistent())?.unwrap_or_default();
        Ok(Member {
            membership: Membership::parse(&self.membership).ok_or_else(inconsistent)?,
            event_id: self.event_id.as_deref().map(OwnedEventId::try_from).transpose().map_err(|_| inconsistent())?,
            sender: self.sender.as_deref().map(OwnedUserId::try_from).transpose().map_err(|_| inconsistent())?,
            stripped: stripped.iter().filter_map(StrippedState::from_json).collect(),
        })
    }
}

impl Records {
    /// When `server` had users in a room, by what the stream of `tenant` told.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn presence(
        &self,
        tenant: &ServerName,
        room: &RoomId,
        server: &ServerName,
    ) -> Result<Presence, RecordsError> {
        let known: Option<(i64,)> = query_as("SELECT known FROM rooms WHERE tenant = $1 AND room_id = $2")
            .bind(tenant.as_str())
            .bind(room.as_str())
            .fetch_optional(&self.readers)
            .await?;
        let rows: Vec<(String, i64, Option<i64>)> = query_as(
            "SELECT membership, from_position, until_position FROM room_servers
             WHERE tenant = $1 AND room_id = $2 AND server_name = $3 ORDER BY from_position",
        )
        .bind(tenant.as_str())
        .bind(room.as_str())
        .bind(server.as_str())
        .fetch_all(&self.readers)
        .await?;
        let mut presence = Presence { room_is_known: known.is_some_and(|(known,)| known != 0), ..Presence::default() };
        for (membership, from, until) in rows {
            let intervals = if membership == "join" { &mut presence.joined } else { &mut presence.invited };
            intervals.push(Interval { from, until });
        }
        Ok(presence)
    }

    /// What a user is to a room, by what the stream of `tenant` told; none if that is not known, or nothing. Of other
    /// servers' users it is known only while a user of ours is joined, and only if they are joined, invited or knocking.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn membership(
        &self,
        tenant: &ServerName,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Option<Member>, RecordsError> {
        let row: Option<MemberRow> = query_as(
            "SELECT room_id, membership, event_id, sender, stripped FROM room_members
             WHERE tenant = $1 AND room_id = $2 AND user_id = $3",
        )
        .bind(tenant.as_str())
        .bind(room.as_str())
        .bind(user.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| row.into_member(user)).transpose()
    }

    /// What a user of `tenant` is to rooms that they are invited to, or knock on, and that show them something.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn invitations(&self, tenant: &ServerName, user: &UserId) -> Result<Vec<Member>, RecordsError> {
        let rows: Vec<MemberRow> = query_as(
            "SELECT room_id, membership, event_id, sender, stripped FROM room_members
             WHERE user_id = $2 AND membership IN ('invite', 'knock') AND tenant = $1 AND stripped IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(user.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(|row| row.into_member(user)).collect()
    }

    /// A user of `tenant` who is joined to a room, as whom it can be asked about; none if none is known.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn a_joined_local_member(
        &self,
        tenant: &ServerName,
        room: &RoomId,
    ) -> Result<Option<OwnedUserId>, RecordsError> {
        Ok(self.joined_local_members(tenant, room, 1).await?.pop())
    }

    /// Users of `tenant` who are joined to a room, at most `limit` of them: those first of whom it was said last.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn joined_local_members(
        &self,
        tenant: &ServerName,
        room: &RoomId,
        limit: u32,
    ) -> Result<Vec<OwnedUserId>, RecordsError> {
        let rows: Vec<(String,)> = query_as(
            "SELECT user_id FROM room_members
             WHERE tenant = $1 AND room_id = $2 AND server_name = $1 AND membership = 'join'
             ORDER BY position DESC, user_id LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(room.as_str())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let parse =
            |(user,): (String,)| user.try_into().map_err(|_| RecordsError::Inconsistent(format!("a member of {room}")));
        rows.into_iter().map(parse).collect()
    }

    /// The history visibility of a room as it is now; none if it is not known.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn room_visibility(&self, tenant: &ServerName, room: &RoomId) -> Result<Option<String>, RecordsError> {
        let row: Option<(Option<String>,)> =
            query_as("SELECT visibility FROM rooms WHERE tenant = $1 AND room_id = $2")
                .bind(tenant.as_str())
                .bind(room.as_str())
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.and_then(|(visibility,)| visibility))
    }

    /// Rooms whose state is to be read by now, at most `limit` of them.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn rooms_to_read(&self, now: Timestamp, limit: u32) -> Result<Vec<RoomToRead>, RecordsError> {
        let rows: Vec<(String, String, i64, i64)> = query_as(
            "SELECT tenant, room_id, followed_since, read_failures FROM rooms
             WHERE read_due <= $1 AND followed_since IS NOT NULL ORDER BY read_due LIMIT $2",
        )
        .bind(now.as_millis())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let parse = |(tenant, room_id, followed_since, failures): (String, String, i64, i64)| {
            let inconsistent = || RecordsError::Inconsistent(format!("the room {room_id}"));
            Ok(RoomToRead {
                tenant: tenant.try_into().map_err(|_| inconsistent())?,
                room_id: room_id.as_str().try_into().map_err(|_| inconsistent())?,
                followed_since,
                failures: u32::try_from(failures).unwrap_or(u32::MAX),
            })
        };
        rows.into_iter().map(parse).collect()
    }

    /// When the state of a room is to be read next; none if no room's is.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn next_room_to_read(&self) -> Result<Option<Timestamp>, RecordsError> {
        let (due,): (Option<i64>,) =
            query_as("SELECT MIN(read_due) FROM rooms WHERE read_due IS NOT NULL").fetch_one(&self.readers).await?;
        Ok(due.map(Timestamp))
    }

    /// How many rooms are followed, and of how many the state is known.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn count_rooms(&self) -> Result<RoomCounts, RecordsError> {
        let (all, known): (i64, Option<i64>) =
            query_as("SELECT COUNT(*), CAST(SUM(known) AS BIGINT) FROM rooms WHERE followed_since IS NOT NULL")
                .fetch_one(&self.readers)
                .await?;
        let known = known.unwrap_or(0);
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(RoomCounts { known: count(known), unknown: count(all - known) })
    }

    /// The position of the last event that the stream of `tenant` brought; 0 if it brought none.
    ///
    /// # Errors
    /// [`RecordsError`] if the database fails.
    pub async fn stream_position(&self, tenant: &ServerName) -> Result<i64, RecordsError> {
        let row: Option<(i64,)> = query_as("SELECT position FROM streams WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map_or(0, |(position,)| position))
    }
}

/// Whether media is the avatar of a room or of a member at the moment, as far as any stream told.
pub(super) async fn is_current_avatar(connection: &mut Connection, mxc: &Mxc) -> Result<bool, RecordsError> {
    let (is,): (bool,) = query_as(
        "SELECT EXISTS (SELECT 1 FROM rooms WHERE avatar = $1) OR EXISTS (SELECT 1 FROM room_members WHERE avatar = $1)",
    )
    .bind(mxc.to_string())
    .fetch_one(connection)
    .await?;
    Ok(is)
}
