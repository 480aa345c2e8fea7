//! A room in which people come and go, with media from each time.

use e2e::person::Person;
use tokio::sync::OnceCell;

use crate::front_door;

/// How much of the past can be seen in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

/// Somebody who looks at the media of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onlooker {
    /// Has nothing to do with the room.
    Stranger,
    /// Is invited after the first message.
    Invited,
    /// Is invited after the first message and joins after the second.
    Joined,
    /// Is there from the beginning and leaves after the second message.
    Left,
}

/// When a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anybody was invited.
    AtFirst,
    /// After the invitations.
    AfterTheInvitations,
    /// When one has joined and another left.
    AtLast,
}

/// Media and the event it is attached to.
#[derive(Clone, Debug)]
pub struct Attached {
    pub mxc: String,
    pub event: String,
}

/// A room at the end of its story.
#[derive(Debug)]
pub struct Room {
    pub id: String,
    /// Made the room and invites.
    pub owner: Person,
    /// Is in the room from the beginning to the end.
    pub resident: Person,
    stranger: Person,
    invited: Person,
    joined: Person,
    left: Person,
    /// The avatar that the room had before anybody came.
    pub former_avatar: Attached,
    /// The avatar that the room has, from before anybody was invited.
    pub avatar: Attached,
    /// The owner's own avatar in this room, likewise.
    pub owners_avatar: Attached,
    /// The resident's, likewise.
    pub residents_avatar: Attached,
    messages: [Attached; 3],
}

impl Visibility {
    /// The room with this visibility that all tests look at.
    pub async fn room(self) -> &'static Room {
        static ROOMS: [OnceCell<Room>; 4] = [const { OnceCell::const_new() }; 4];
        ROOMS[self as usize].get_or_init(|| Room::new(self)).await
    }

    fn name(self) -> &'static str {
        match self {
            Self::WorldReadable => "world_readable",
            Self::Shared => "shared",
            Self::Invited => "invited",
            Self::Joined => "joined",
        }
    }
}

impl Room {
    async fn new(visibility: Visibility) -> Self {
        let name = visibility.name();
        let [owner, resident, stranger, invited, joined, left] =
            ["owner", "resident", "stranger", "invited", "joined", "left"].map(|role| format!("{name}_{role}"));
        let door = front_door().await;
        let (owner, resident) = (door.person(&owner).await, door.person(&resident).await);
        let (stranger, invited) = (door.person(&stranger).await, door.person(&invited).await);
        let (joined, left) = (door.person(&joined).await, door.person(&left).await);

        let id = owner.create_room(name).await;
        let former_avatar = set_room_avatar(&id, &owner).await;
        for person in [&resident, &left] {
            owner.invite(&id, person).await;
            person.join(&id).await;
        }
        let avatar = set_room_avatar(&id, &owner).await;
        let owners_avatar = set_member_avatar(&id, &owner).await;
        let residents_avatar = set_member_avatar(&id, &resident).await;
        let at_first = send(&id, &owner).await;
        for person in [&invited, &joined] {
            owner.invite(&id, person).await;
        }
        let after_the_invitations = send(&id, &owner).await;
        joined.join(&id).await;
        left.leave(&id).await;
        let at_last = send(&id, &owner).await;

        Self {
            id,
            owner,
            resident,
            stranger,
            invited,
            joined,
            left,
            former_avatar,
            avatar,
            owners_avatar,
            residents_avatar,
            messages: [at_first, after_the_invitations, at_last],
        }
    }

    /// The person who looks.
    pub fn onlooker(&self, onlooker: Onlooker) -> &Person {
        match onlooker {
            Onlooker::Stranger => &self.stranger,
            Onlooker::Invited => &self.invited,
            Onlooker::Joined => &self.joined,
            Onlooker::Left => &self.left,
        }
    }

    /// What was sent then.
    pub fn message(&self, moment: Moment) -> &Attached {
        &self.messages[moment as usize]
    }
}

async fn send(room: &str, sender: &Person) -> Attached {
    let mxc = sender.upload().await;
    Attached { event: sender.send(room, &mxc).await, mxc }
}

async fn set_room_avatar(room: &str, sender: &Person) -> Attached {
    let mxc = sender.upload().await;
    Attached { event: sender.set_room_avatar(room, &mxc).await, mxc }
}

async fn set_member_avatar(room: &str, sender: &Person) -> Attached {
    let mxc = sender.upload().await;
    Attached { event: sender.set_member_avatar(room, &mxc).await, mxc }
}
