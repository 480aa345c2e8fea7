//! What an invitation shows.
//!
//! Who is invited, or knocks, is not shown the state of the room, only its name, its avatar and who invited them. Their
//! clients show those avatars, and so do we: the room's, the inviter's, and what the stripped state names.

use tintype_domain::{EventId, Mxc, OwnedUserId, RoomId};
use tintype_homeserver::{Credentials, QuestionError};
use tintype_storage::records::{Member, Membership, StrippedState};

use super::{
    Viewer,
    events::{StateName, is_this},
    sights::Shown,
};
use crate::{OpenError, Repository};

impl Repository {
    /// How the viewer sees this state event with an invitation or a knock.
    ///
    /// # Errors
    /// [`OpenError::NotVisible`] if they do not see it.
    pub(super) async fn seen_with_invitation(
        &self,
        viewer: &Viewer<'_>,
        mxc: &Mxc,
        room: &RoomId,
        event_id: &EventId,
        state: StateName<'_>,
    ) -> Result<Shown, OpenError> {
        let member = self.member(viewer, room).await?.filter(is_outside).ok_or(OpenError::NotVisible)?;
        let named = |stripped: &StrippedState| {
            (stripped.event_type.as_str(), stripped.state_key.as_str()) == (state.event_type, state.state_key)
                && match &stripped.event_id {
                    Some(named) => named == event_id,
                    None => stripped.avatar.as_ref() == Some(mxc),
                }
        };
        let inviter = member.sender.as_ref().filter(|_| member.membership == Membership::Invite);
        let is_inviters =
            state.event_type == "m.room.member" && inviter.is_some_and(|inviter| inviter == state.state_key);
        if is_inviters || member.stripped.iter().any(named) {
            return Ok(Shown::AsItIs);
        }
        if state != (StateName { event_type: "m.room.avatar", state_key: "" }) {
            return Err(OpenError::NotVisible);
        }
        // It may have been changed since the invitation.
        let Some(insider) = self.insider(viewer, room).await? else { return Err(OpenError::NotVisible) };
        match viewer.homeserver.state_event(&insider, None, room, state.event_type, state.state_key).await {
            Ok(avatar) if is_this(&avatar, event_id) => Ok(Shown::of(&avatar)),
            Ok(_) => Err(OpenError::NotVisible),
            Err(error) => unanswered(error),
        }
    }

    /// Whether the viewer is invited to, or knocks on, a room that the homeserver is not in, and the media is what was
    /// shown of it. Nobody here can tell of which room an event is then, and whoever invites can name any media: so only
    /// media of the very server that invited is shown.
    ///
    /// # Errors
    /// [`OpenError`] if the records fail.
    pub(super) async fn is_named_by_its_server(&self, viewer: &Viewer<'_>, mxc: &Mxc) -> Result<bool, OpenError> {
        let invitations = self.0.records.invitations(&viewer.server.name, &viewer.user.user_id).await?;
        Ok(invitations.iter().any(|member| {
            member.membership == Membership::Invite
                && member.sender.as_ref().is_some_and(|sender| sender.server_name() == mxc.server_name)
                && member.stripped.iter().any(|stripped| stripped.avatar.as_ref() == Some(mxc))
        }))
    }

    /// What the viewer is to the room: as the stream told, or as the homeserver tells somebody who is in it.
    async fn member(&self, viewer: &Viewer<'_>, room: &RoomId) -> Result<Option<Member>, OpenError> {
        let Viewer { server, homeserver, user, .. } = viewer;
        if let Some(member) = self.0.records.membership(&server.name, room, &user.user_id).await? {
            return Ok(Some(member));
        }
        let Some(insider) = self.insider(viewer, room).await? else { return Ok(None) };
        match homeserver.state_event(&insider, None, room, "m.room.member", user.user_id.as_str()).await {
            Ok(event) => {
                let text = |field: &str| event.get(field).and_then(|value| value.as_str());
                let membership = event.get("content").and_then(|content| content.get("membership")?.as_str());
                Ok(membership.and_then(Membership::parse).map(|membership| Member {
                    membership,
                    event_id: text("event_id").and_then(|id| id.try_into().ok()),
                    sender: text("sender").and_then(|sender| OwnedUserId::try_from(sender).ok()),
                    stripped: Vec::new(),
                }))
            }
            Err(QuestionError::Hidden) => Ok(None),
            Err(error) => unanswered(error),
        }
    }

    /// What shows the state of the room: the application service, as a user of this server who is in it.
    async fn insider(&self, viewer: &Viewer<'_>, room: &RoomId) -> Result<Option<Credentials>, OpenError> {
        let insider = self.0.records.a_joined_local_member(&viewer.server.name, room).await?;
        Ok(insider.and_then(|insider| viewer.homeserver.credentials_of(&insider)))
    }
}

/// Whether somebody is not in the room, but may see something of it.
fn is_outside(member: &Member) -> bool {
    matches!(member.membership, Membership::Invite | Membership::Knock)
}

/// What the lack of an answer to the application service means for whoever is judged.
fn unanswered<T>(error: QuestionError) -> Result<T, OpenError> {
    match error {
        QuestionError::Hidden => Err(OpenError::NotVisible),
        // That the token of the application service is not accepted is nothing that the user could do anything about.
        error @ (QuestionError::Refused(_) | QuestionError::Unavailable(_)) => {
            Err(OpenError::Undecided(error.to_string()))
        }
    }
}
