//! How events change what is known of rooms: members, the servers that they are on, and whether a room is followed.
//!
//! An event that came by the stream has a position of its own. What was read of a room's state holds from the position on
//! from which the room is followed, and counts less than events that came after it was asked for.

use sqlx::FromRow;
use tintype_domain::{Mxc, RoomId, ServerName, Timestamp, UserId};

use super::{Membership, RecordsError, StreamEvent, StrippedState};
use crate::records::sql::{Connection, query, query_as};

/// A room as one server of ours knows it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tenant: &'a ServerName,
    pub(super) room: &'a RoomId,
}

/// What a member event says.
pub(super) struct Change<'a> {
    pub(super) user: &'a UserId,
    pub(super) membership: Membership,
    /// None where it was only seen that they are joined.
    pub(super) event_id: Option<&'a str>,
    pub(super) sender: Option<&'a UserId>,
    pub(super) position: i64,
    pub(super) origin: Origin,
    pub(super) avatar: Option<Mxc>,
    pub(super) stripped: &'a [StrippedState],
}

/// How it came to be known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Stream,
    State,
}

#[derive(FromRow)]
struct Known {
    membership: String,
    event_id: Option<String>,
    position: i64,
    since: i64,
    streamed: i64,
}

/// Memberships of which it is kept which servers had users with them, and when.
const KEPT: [Membership; 2] = [Membership::Join, Membership::Invite];

/// Takes an event of the stream into account.
pub(super) async fn note(
    connection: &mut Connection,
    tenant: &ServerName,
    event: &StreamEvent,
    position: i64,
    now: Timestamp,
) -> Result<(), RecordsError> {
    let place = Place { tenant, room: &event.room_id };
    let member = member_of(event);
    let is_ours = |user: &UserId| user.server_name() == tenant;
    match &member {
        Some((user, membership)) if is_ours(user) => {
            if *membership == Membership::Join && !place.has_joined(connection, tenant).await? {
                place.follow_from(connection, position).await?;
            }
        }
        // Everything else comes only while somebody of ours is joined.
        _ => place.follow(connection, position).await?,
    }
    if let Some((user, membership)) = member {
        let change = Change {
            user,
            membership,
            event_id: Some(event.event_id.as_str()),
            sender: Some(&event.sender),
            position,
            origin: Origin::Stream,
            avatar: event.avatar(),
            stripped: &event.stripped,
        };
        place.apply(connection, &change).await?;
        if is_ours(user) && membership != Membership::Join && !place.has_joined(connection, tenant).await? {
            place.unfollow(connection, position).await?;
        }
    } else {
        if is_ours(&event.sender) && event.event_type != "m.room.member" {
            place.saw_joined(connection, &event.sender, position).await?;
        }
        place.note_state(connection, event, position).await?;
    }
    place.read_if_possible(connection, now).await
}

/// Whose membership an event says, and which; none if it is no member event, or not a proper one.
pub(super) fn member_of(event: &StreamEvent) -> Option<(&UserId, Membership)> {
    let user = event.state_key.as_deref().filter(|_| event.event_type == "m.room.member")?;
    let membership = event.content.get("membership")?.as_str().and_then(Membership::parse)?;
    Some((<&UserId>::try_from(user).ok()?, membership))
}

impl Place<'_> {
    /// From now on every event of the room comes: somebody of ours is joined.
    async fn follow(self, connection: &mut Connection, position: i64) -> Result<(), RecordsError> {
        let followed: Option<(Option<i64>,)> =
            query_as("SELECT followed_since FROM rooms WHERE tenant = $1 AND room_id = $2")
                .bind(self.tenant.as_str())
                .bind(self.room.as_str())
                .fetch_optional(&mut *connection)
                .await?;
        match followed {
            Some((Some(_),)) => Ok(()),
            _ => self.follow_from(connection, position).await,
        }
    }

    /// The same, from this event on: what was before it is not known.
    async fn follow_from(self, connection: &mut Connection, position: i64) -> Result<(), RecordsError> {
        self.unfollow(connection, position).await?;
        query(
            "INSERT INTO rooms (tenant, room_id, followed_since) VALUES ($1, $2, $3)
             ON CONFLICT (tenant, room_id) DO UPDATE SET followed_since = $3",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(position)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// After this event nothing more is known of the room: nobody of ours is joined.
    async fn unfollow(self, connection: &mut Connection, position: i64) -> Result<(), RecordsError> {
        // Its avatar is rather taken for the current one for too long.
        query(
            "UPDATE rooms SET followed_since = NULL, known = 0, visibility = NULL, read_due = NULL, read_failures = 0
             WHERE tenant = $1 AND room_id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .execute(&mut *connection)
        .await?;
        query(
            "UPDATE room_servers SET until_position = $3
             WHERE tenant = $1 AND room_id = $2 AND until_position IS NULL",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(position)
        .execute(&mut *connection)
        .await?;
        // What becomes of our own users is always told.
        query("DELETE FROM room_members WHERE tenant = $1 AND room_id = $2 AND server_name <> $1")
            .bind(self.tenant.as_str())
            .bind(self.room.as_str())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// A user of ours sent something, and so is joined.
    async fn saw_joined(self, connection: &mut Connection, user: &UserId, position: i64) -> Result<(), RecordsError> {
        let known: Option<(String,)> =
            query_as("SELECT membership FROM room_members WHERE tenant = $1 AND room_id = $2 AND user_id = $3")
                .bind(self.tenant.as_str())
                .bind(self.room.as_str())
                .bind(user.as_str())
                .fetch_optional(&mut *connection)
                .await?;
        if known.is_some_and(|(membership,)| membership == Membership::Join.as_str()) {
            return Ok(());
        }
        let change = Change {
            user,
            membership: Membership::Join,
            event_id: None,
            sender: None,
            position,
            origin: Origin::State,
            avatar: None,
            stripped: &[],
        };
        self.apply(connection, &change).await
    }

    /// The state of the room is to be read, if that was not done and there is somebody as whom it can be.
    async fn read_if_possible(self, connection: &mut Connection, now: Timestamp) -> Result<(), RecordsError> {
        query(
            "UPDATE rooms SET read_due = $3
             WHERE tenant = $1 AND room_id = $2 AND followed_since IS NOT NULL AND known = 0 AND read_due IS NULL
               AND EXISTS (
                 SELECT 1 FROM room_members
                 WHERE tenant = $1 AND room_id = $2 AND server_name = $1 AND membership = 'join'
               )",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(now.as_millis())
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Takes state that is not about members into account.
    pub(super) async fn note_state(
        self,
        connection: &mut Connection,
        event: &StreamEvent,
        position: i64,
    ) -> Result<(), RecordsError> {
        if event.state_key.as_deref() != Some("") {
            return Ok(());
        }
        match event.event_type.as_str() {
            "m.room.history_visibility" => {
                let visibility = event.content.get("history_visibility").and_then(|visibility| visibility.as_str());
                self.set_visibility(connection, visibility, position).await
            }
            "m.room.avatar" => {
                query("UPDATE rooms SET avatar = $3, avatar_position = $4 WHERE tenant = $1 AND room_id = $2")
                    .bind(self.tenant.as_str())
                    .bind(self.room.as_str())
                    .bind(event.avatar().map(|avatar| avatar.to_string()))
                    .bind(position)
                    .execute(connection)
                    .await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The history visibility of the room from now on; what nobody understands hides the most.
    pub(super) async fn set_visibility(
        self,
        connection: &mut Connection,
        visibility: Option<&str>,
        position: i64,
    ) -> Result<(), RecordsError> {
        // Client-server API, "Room history visibility": what is not one of these is `shared`. That is for homeservers to
        // say, and they may say otherwise.
        let visibility = visibility.filter(|own| ["world_readable", "shared", "invited", "joined"].contains(own));
        query("UPDATE rooms SET visibility = $3, visibility_position = $4 WHERE tenant = $1 AND room_id = $2")
            .bind(self.tenant.as_str())
            .bind(self.room.as_str())
            .bind(visibility.unwrap_or("joined"))
            .bind(position)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Records what a member event says, and what that means for its server.
    pub(super) async fn apply(self, connection: &mut Connection, change: &Change<'_>) -> Result<(), RecordsError> {
        let known: Option<Known> = query_as(
            "SELECT membership, event_id, position, since, streamed FROM room_members
             WHERE tenant = $1 AND room_id = $2 AND user_id = $3",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(change.user.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(known) = &known
            && known.event_id.is_some()
            && known.event_id.as_deref() == change.event_id
        {
            return self.correct(connection, known, change).await;
        }
        let before = known.as_ref().and_then(|known| Membership::parse(&known.membership));
        let since = known.as_ref().filter(|_| before == Some(change.membership)).map(|known| known.since);
        let has_left = matches!(change.membership, Membership::Leave | Membership::Ban);
        if has_left && self.forgets(connection, change).await? {
            query("DELETE FROM room_members WHERE tenant = $1 AND room_id = $2 AND user_id = $3")
                .bind(self.tenant.as_str())
                .bind(self.room.as_str())
                .bind(change.user.as_str())
                .execute(&mut *connection)
                .await?;
        } else {
            self.write(connection, change, since.unwrap_or(change.position)).await?;
        }
        let server = change.user.server_name();
        for kept in KEPT {
            match (before == Some(kept), change.membership == kept) {
                (false, true) => self.open(connection, server, kept, change.position).await?,
                (true, false) => self.close(connection, server, kept, change.position).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it is not kept that a user has left: another server's, when all of the state was read.
    async fn forgets(self, connection: &mut Connection, change: &Change<'_>) -> Result<bool, RecordsError> {
        if change.user.server_name() == self.tenant {
            return Ok(false);
        }
        let (known,): (bool,) =
            query_as("SELECT EXISTS (SELECT 1 FROM rooms WHERE tenant = $1 AND room_id = $2 AND known = 1)")
                .bind(self.tenant.as_str())
                .bind(self.room.as_str())
                .fetch_one(connection)
                .await?;
        Ok(known)
    }

    async fn write(self, connection: &mut Connection, change: &Change<'_>, since: i64) -> Result<(), RecordsError> {
        let stripped: Vec<_> = change.stripped.iter().map(StrippedState::to_json).collect();
        let stripped = (!stripped.is_empty()).then(|| serde_json::Value::from(stripped).to_string());
        query(
            "INSERT INTO room_members
               (tenant, room_id, user_id, server_name, membership, event_id, sender, position, since, streamed, avatar,
                stripped)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (tenant, room_id, user_id) DO UPDATE SET
               membership = $5, event_id = $6, sender = $7, position = $8, since = $9, streamed = $10, avatar = $11,
               stripped = $12",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(change.user.as_str())
        .bind(change.user.server_name().as_str())
        .bind(change.membership.as_str())
        .bind(change.event_id)
        .bind(change.sender.map(UserId::as_str))
        .bind(change.position)
        .bind(since)
        .bind(i64::from(change.origin == Origin::Stream))
        .bind(change.avatar.as_ref().map(Mxc::to_string))
        .bind(stripped)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The stream brings a member event that was read as state before: only now it is known since when it holds.
    async fn correct(
        self,
        connection: &mut Connection,
        known: &Known,
        change: &Change<'_>,
    ) -> Result<(), RecordsError> {
        if known.streamed != 0 || change.origin == Origin::State || change.position <= known.position {
            return Ok(());
        }
        self.write(connection, change, change.position).await?;
        if !KEPT.contains(&change.membership) {
            return Ok(());
        }
        // What was taken for the beginning of its server's time was not, unless others were there before.
        let server = change.user.server_name();
        let (first,): (Option<i64>,) = query_as(
            "SELECT MIN(since) FROM room_members
             WHERE tenant = $1 AND room_id = $2 AND server_name = $3 AND membership = $4",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(server.as_str())
        .bind(change.membership.as_str())
        .fetch_one(&mut *connection)
        .await?;
        let first = first.unwrap_or(change.position);
        if first > known.since {
            query(
                "DELETE FROM room_servers WHERE tenant = $1 AND room_id = $2 AND server_name = $3 AND membership = $4
                 AND from_position = $5 AND until_position IS NULL",
            )
            .bind(self.tenant.as_str())
            .bind(self.room.as_str())
            .bind(server.as_str())
            .bind(change.membership.as_str())
            .bind(known.since)
            .execute(&mut *connection)
            .await?;
            self.open(connection, server, change.membership, first).await?;
        }
        Ok(())
    }

    /// From this position on the server has somebody with this membership.
    pub(super) async fn open(
        self,
        connection: &mut Connection,
        server: &ServerName,
        membership: Membership,
        position: i64,
    ) -> Result<(), RecordsError> {
        let open: Option<(i64,)> = query_as(
            "SELECT MIN(from_position) FROM room_servers
             WHERE tenant = $1 AND room_id = $2 AND server_name = $3 AND membership = $4 AND until_position IS NULL
             HAVING MIN(from_position) IS NOT NULL",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(server.as_str())
        .bind(membership.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        match open {
            Some((from,)) if from <= position => return Ok(()),
            // What is read of the state comes later and reaches further back.
            Some((from,)) => {
                query(
                    "DELETE FROM room_servers WHERE tenant = $1 AND room_id = $2 AND server_name = $3
                     AND membership = $4 AND from_position = $5",
                )
                .bind(self.tenant.as_str())
                .bind(self.room.as_str())
                .bind(server.as_str())
                .bind(membership.as_str())
                .bind(from)
                .execute(&mut *connection)
                .await?;
            }
            None => {}
        }
        query(
            "INSERT INTO room_servers (tenant, room_id, server_name, membership, from_position) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, room_id, server_name, membership, from_position) DO UPDATE SET until_position = NULL",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(server.as_str())
        .bind(membership.as_str())
        .bind(position)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// After this position the server has nobody with this membership, unless another one of its users still has it.
    async fn close(
        self,
        connection: &mut Connection,
        server: &ServerName,
        membership: Membership,
        position: i64,
    ) -> Result<(), RecordsError> {
        if self.has(connection, server, membership).await? {
            return Ok(());
        }
        query(
            "UPDATE room_servers SET until_position = $5
             WHERE tenant = $1 AND room_id = $2 AND server_name = $3 AND membership = $4 AND until_position IS NULL",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(server.as_str())
        .bind(membership.as_str())
        .bind(position)
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn has_joined(self, connection: &mut Connection, server: &ServerName) -> Result<bool, RecordsError> {
        self.has(connection, server, Membership::Join).await
    }

    async fn has(
        self,
        connection: &mut Connection,
        server: &ServerName,
        membership: Membership,
    ) -> Result<bool, RecordsError> {
        let (has,): (bool,) = query_as(
            "SELECT EXISTS (
               SELECT 1 FROM room_members
               WHERE tenant = $1 AND room_id = $2 AND server_name = $3 AND membership = $4
             )",
        )
        .bind(self.tenant.as_str())
        .bind(self.room.as_str())
        .bind(server.as_str())
        .bind(membership.as_str())
        .fetch_one(connection)
        .await?;
        Ok(has)
    }
}
