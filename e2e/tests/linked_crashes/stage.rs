//! Two rooms, their people and the servers.

use e2e::{
    fickle::{Fate, Fickle},
    front_door::{FrontDoor, Setting},
    person::{Person, eventually},
};

/// Where all runs take place.
pub struct Stage {
    pub door: FrontDoor,
    pub fickle: Fickle,
    /// Who uploads and sends, in both rooms.
    pub alice: Person,
    pub here: Place,
    pub elsewhere: Place,
    /// Is in neither room.
    pub mallory: Person,
}

/// A room and who is in it beside alice.
pub struct Place {
    pub room: String,
    pub member: Person,
}

/// The events with media in both rooms, as the homeserver has them, and their media.
pub struct Events([Vec<(String, String)>; 2]);

impl Events {
    /// Those with this media, here and elsewhere.
    pub fn with(&self, media: &str) -> [Vec<&str>; 2] {
        self.0.each_ref().map(|events| {
            let with_media = events.iter().filter(|(_, named)| named == media);
            with_media.map(|(event, _)| event.as_str()).collect()
        })
    }
}

impl Stage {
    pub async fn set() -> Self {
        let fickle = Fickle::bind().await;
        let door = FrontDoor::start_through(Setting::default(), |address| fickle.in_front_of(address)).await;
        let alice = door.person("alice").await;
        let here = Place::of(&alice, door.person("bob").await).await;
        let elsewhere = Place::of(&alice, door.person("carol").await).await;
        let mallory = door.person("mallory").await;
        Self { door, fickle, alice, here, elsewhere, mallory }
    }

    /// Puts an end to what is broken.
    pub fn calm(&self) {
        self.fickle.decide(Fate::CALM, self.door.tintype.killer());
    }

    /// Starts Tintype again.
    pub async fn start_again(&mut self) {
        self.door.tintype.kill();
        self.door.tintype.start_again().await;
        self.calm();
    }

    /// What the homeserver has now.
    pub async fn events(&self) -> Events {
        let here = self.alice.events_with_media(&self.here.room).await;
        Events([here, self.alice.events_with_media(&self.elsewhere.room).await])
    }

    /// Waits until Tintype has heard all that has happened: an event of now ends what belongs to it.
    pub async fn catch_up(&self) {
        self.calm();
        for Place { room, member } in [&self.here, &self.elsewhere] {
            let media = self.alice.upload().await;
            let event = self.alice.send(room, &media).await;
            member.download(&media).await.is_the_photograph();
            self.alice.redact(room, &event).await;
            eventually(async || member.download(&media).await.status == 404).await;
        }
    }
}

impl Place {
    async fn of(alice: &Person, member: Person) -> Self {
        let room = alice.create_room("joined").await;
        alice.invite(&room, &member).await;
        member.join(&room).await;
        Self { room, member }
    }
}
