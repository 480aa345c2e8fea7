//! Avatars of rooms and of members: also seen by whom the homeserver gives them as state of the room, and by the invited
//! as far as the invitation shows them. Otherwise whoever joined later would see broken ones.

use crate::room::{Attached, Onlooker, Room, Visibility};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    /// The homeserver shows the event, or gives it as state.
    Yes,
    /// The invitation shows it, while the homeserver gives neither the event nor the state.
    Invitation,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Avatar {
    Room,
    /// Of whom the invitations are from.
    Owner,
    /// Of a member who invited nobody.
    Resident,
    /// What the room had before the others came.
    Former,
}

/// A test for each avatar.
macro_rules! table {
    ($($name:ident $visibility:ident {
        $($who:ident $onlooker:ident: $room:ident $owner:ident $resident:ident $former:ident;)*
    })*) => {
        $(mod $name {
            $(mod $who {
                use super::super::{Avatar, Sees, looks_at};
                use crate::room::{Onlooker, Visibility};

                #[tokio::test]
                async fn avatar_of_the_room() {
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, Avatar::Room, Sees::$room).await;
                }

                #[tokio::test]
                async fn avatar_of_the_inviter() {
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, Avatar::Owner, Sees::$owner).await;
                }

                #[tokio::test]
                async fn avatar_of_another_member() {
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, Avatar::Resident, Sees::$resident).await;
                }

                #[tokio::test]
                async fn former_avatar_of_the_room() {
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, Avatar::Former, Sees::$former).await;
                }
            })*
        })*
    };
}

table! {
    world_readable WorldReadable {
        a_stranger Stranger: Yes Yes Yes Yes;
        the_invited Invited: Yes Yes Yes Yes;
        who_joined Joined: Yes Yes Yes Yes;
        who_left Left: Yes Yes Yes Yes;
    }
    shared Shared {
        a_stranger Stranger: No No No No;
        the_invited Invited: Invitation Invitation No No;
        who_joined Joined: Yes Yes Yes Yes;
        who_left Left: Yes Yes Yes No;
    }
    invited Invited {
        a_stranger Stranger: No No No No;
        the_invited Invited: Invitation Invitation No No;
        who_joined Joined: Yes Yes Yes No;
        who_left Left: Yes Yes Yes No;
    }
    joined Joined {
        a_stranger Stranger: No No No No;
        the_invited Invited: Invitation Invitation No No;
        who_joined Joined: Yes Yes Yes No;
        who_left Left: Yes Yes Yes No;
    }
}

async fn looks_at(visibility: Visibility, onlooker: Onlooker, avatar: Avatar, expected: Sees) {
    let room = visibility.room().await;
    let (person, media) = (room.onlooker(onlooker), avatar.of(room));

    let is_shown = person.is_shown(&room.id, &media.event).await
        || person.is_shown_state(&room.id, avatar.state(room), &media.event).await;
    let download = person.download(&media.mxc).await;
    let thumbnail = person.thumbnail(&media.mxc).await;

    assert_eq!(is_shown, expected == Sees::Yes, "what the homeserver shows");
    if expected == Sees::No {
        download.is_unauthorized();
        thumbnail.is_unauthorized();
    } else {
        download.is_the_photograph();
        thumbnail.is_its_thumbnail();
    }
}

impl Avatar {
    fn of(self, room: &Room) -> &Attached {
        match self {
            Self::Room => &room.avatar,
            Self::Owner => &room.owners_avatar,
            Self::Resident => &room.residents_avatar,
            Self::Former => &room.former_avatar,
        }
    }

    /// The type and the state key of its event.
    fn state(self, room: &Room) -> (&str, &str) {
        match self {
            Self::Room | Self::Former => ("m.room.avatar", ""),
            Self::Owner => ("m.room.member", room.owner.id()),
            Self::Resident => ("m.room.member", room.resident.id()),
        }
    }
}
