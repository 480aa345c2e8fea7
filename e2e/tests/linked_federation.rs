//! Media that belongs to an event, between two homeservers with a Tintype in front of each.
//!
//! The second one lets its users redact whatever they like, as no homeserver should: what the others make of that is
//! the point.

use e2e::{
    federation::place,
    front_door::{FrontDoor, Setting},
    person::{Person, answer, eventually, transaction},
    synapse::{OldEndpoints, Redactions, http_client},
    tintype::Tintype,
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::OnceCell;

#[tokio::test]
async fn a_member_on_another_server_sees_what_is_sent() {
    let Meeting { alice, bob, room } = Meeting::new("sent", "joined").await;

    let media = alice.upload().await;
    alice.send(&room, &media).await;

    is_seen_by(&bob, &media).await;
    bob.thumbnail(&media).await.is_its_thumbnail();
}

#[tokio::test]
async fn a_thumbnail_alone_is_seen_on_another_server() {
    let Meeting { alice, bob, room } = Meeting::new("thumbnail", "joined").await;
    let media = alice.upload().await;
    let event = alice.send(&room, &media).await;
    eventually(async || bob.is_shown(&room, &event).await).await;

    bob.thumbnail(&media).await.is_its_thumbnail();
    stranger_there().await.thumbnail(&media).await.is_unauthorized();
}

#[tokio::test]
async fn what_a_member_on_another_server_sends_is_seen_here() {
    let Meeting { alice, bob, room } = Meeting::new("answered", "joined").await;

    let media = bob.upload().await;
    bob.send(&room, &media).await;

    is_seen_by(&alice, &media).await;
    stranger_here().await.download(&media).await.is_unauthorized();
    stranger_there().await.download(&media).await.is_unauthorized();
}

#[tokio::test]
async fn a_stranger_on_the_other_server_sees_nothing_even_of_what_is_kept_there() {
    let Meeting { alice, bob, room } = Meeting::new("kept", "joined").await;
    let media = alice.upload().await;
    alice.send(&room, &media).await;
    let stranger = stranger_there().await;

    stranger.download(&media).await.is_unauthorized();
    is_seen_by(&bob, &media).await;
    stranger.download(&media).await.is_unauthorized();
    stranger.thumbnail(&media).await.is_unauthorized();
    stranger.try_to_copy(&media).await.is_unauthorized();
    stranger_here().await.download(&media).await.is_unauthorized();
}

#[tokio::test]
async fn what_was_sent_before_anybody_of_a_server_joined_is_not_for_it() {
    let door = here().await;
    let (alice, bob) = (door.person("alice_before").await, there().await.person("bob_before").await);
    let room = alice.create_room("joined").await;
    let (before, after) = (alice.upload().await, alice.upload().await);
    alice.send(&room, &before).await;

    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    alice.send(&room, &after).await;

    is_seen_by(&bob, &after).await;
    bob.download(&before).await.is_unauthorized();
}

#[tokio::test]
async fn in_a_shared_room_the_past_is_seen_on_another_server() {
    let door = here().await;
    let (alice, bob) = (door.person("alice_past").await, there().await.person("bob_past").await);
    let room = alice.create_room("shared").await;
    let media = alice.upload().await;
    alice.send(&room, &media).await;
    bob.download(&media).await.is_unauthorized();

    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    // His server fetches the past when he looks at it.
    eventually(async || !bob.events_with(&room, &media).await.is_empty()).await;

    is_seen_by(&bob, &media).await;
}

#[tokio::test]
async fn avatars_of_rooms_and_members_are_seen_on_another_server() {
    let door = here().await;
    let (alice, bob) = (door.person("alice_avatars").await, there().await.person("bob_avatars").await);
    let room = alice.create_room("joined").await;
    let (of_the_room, of_alice) = (alice.upload().await, alice.upload().await);
    alice.set_room_avatar(&room, &of_the_room).await;
    alice.set_member_avatar(&room, &of_alice).await;

    // They are older than anything that he could see, but the room still has them.
    alice.invite(&room, &bob).await;
    bob.join(&room).await;

    is_seen_by(&bob, &of_the_room).await;
    is_seen_by(&bob, &of_alice).await;
    stranger_there().await.download(&of_the_room).await.is_unauthorized();
}

#[tokio::test]
async fn avatars_of_profiles_are_seen_on_any_server() {
    let alice = here().await.person("alice_profile").await;
    let avatar = alice.upload().await;
    stranger_there().await.download(&avatar).await.is_unauthorized();

    alice.set_avatar(&avatar).await;

    is_seen_by(&stranger_there().await, &avatar).await;
}

#[tokio::test]
async fn a_server_that_has_nobody_in_the_room_is_refused_by_the_origin() {
    let Meeting { alice, bob, room } = Meeting::new("nobody", "shared").await;
    let (media, for_everybody) = (alice.upload().await, alice.upload_for_everybody().await);
    alice.send(&room, &media).await;
    is_seen_by(&bob, &media).await;
    // It believes what the origin says, and nothing else: it has no homeserver that it could ask.
    let third = Tintype::start_alone(place(OldEndpoints::Frozen)).await;
    let token = third.token("carol").await;
    let download = async |mxc: &str| {
        let path = mxc.trim_start_matches("mxc://");
        let url = format!("http://{}/_matrix/client/v1/media/download/{path}", third.address());
        answer(http_client().get(url).bearer_auth(&token)).await.expect("Tintype answers")
    };

    download(&for_everybody).await.is_the_photograph();
    download(&media).await.is_unauthorized();
}

#[tokio::test]
async fn a_redaction_here_ends_it_there() {
    let Meeting { alice, bob, room } = Meeting::new("ended_here", "joined").await;
    let media = alice.upload().await;
    let event = alice.send(&room, &media).await;
    is_seen_by(&bob, &media).await;
    bob.thumbnail(&media).await.is_its_thumbnail();

    alice.redact(&room, &event).await;

    is_gone_for(&alice, &media).await;
    is_gone_for(&bob, &media).await;
}

#[tokio::test]
async fn a_redaction_there_ends_it_here() {
    let Meeting { alice, bob, room } = Meeting::new("ended_there", "joined").await;
    let media = bob.upload().await;
    let event = bob.send(&room, &media).await;
    is_seen_by(&alice, &media).await;

    bob.redact(&room, &event).await;

    is_gone_for(&bob, &media).await;
    is_gone_for(&alice, &media).await;
}

#[tokio::test]
async fn a_moderator_ends_what_others_sent_on_their_server_too() {
    let Meeting { alice, bob, room } = Meeting::new("moderated", "joined").await;
    let media = bob.upload().await;
    let event = bob.send(&room, &media).await;
    is_seen_by(&alice, &media).await;

    alice.redact(&room, &event).await;

    is_gone_for(&alice, &media).await;
    is_gone_for(&bob, &media).await;
}

#[tokio::test]
async fn a_redaction_that_nobody_applies_deletes_nothing() {
    for version in ["11", "12"] {
        let alice = here().await.person(&format!("alice_unapplied_{version}")).await;
        let bob = there().await.person(&format!("bob_unapplied_{version}")).await;
        let room = alice.create(&json!({ "preset": "private_chat", "room_version": version })).await;
        alice.invite(&room, &bob).await;
        bob.join(&room).await;
        let media = alice.upload().await;
        let event = alice.send(&room, &media).await;
        is_seen_by(&bob, &media).await;

        // He is no moderator, but his server sends it all the same.
        bob.redact(&room, &event).await;

        // What comes after it, and counts, proves that it has come.
        let after = bob.upload().await;
        let last = bob.send(&room, &after).await;
        is_seen_by(&alice, &after).await;
        bob.redact(&room, &last).await;
        is_gone_for(&alice, &after).await;
        alice.download(&media).await.is_the_photograph();
    }
}

/// Two people of two servers in a room.
struct Meeting {
    alice: Person,
    bob: Person,
    room: String,
}

impl Meeting {
    async fn new(name: &str, visibility: &str) -> Self {
        let alice = here().await.person(&format!("alice_{name}")).await;
        let bob = there().await.person(&format!("bob_{name}")).await;
        let room = alice.create_room(visibility).await;
        alice.invite(&room, &bob).await;
        bob.join(&room).await;
        Self { alice, bob, room }
    }
}

async fn here() -> &'static FrontDoor {
    static HERE: OnceCell<FrontDoor> = OnceCell::const_new();
    HERE.get_or_init(|| federating(Redactions::Checked)).await
}

async fn there() -> &'static FrontDoor {
    static THERE: OnceCell<FrontDoor> = OnceCell::const_new();
    THERE.get_or_init(|| federating(Redactions::Unchecked)).await
}

async fn federating(redactions: Redactions) -> FrontDoor {
    let federation = Some(place(OldEndpoints::Frozen));
    FrontDoor::start(Setting { federation, redactions, ..Setting::default() }).await
}

async fn stranger_here() -> Person {
    here().await.person(&format!("stranger_{}", transaction())).await
}

async fn stranger_there() -> Person {
    there().await.person(&format!("stranger_{}", transaction())).await
}

/// The event may still be on its way.
async fn is_seen_by(person: &Person, media: &str) {
    eventually(async || person.download(media).await.status == StatusCode::OK).await;
    person.download(media).await.is_the_photograph();
}

async fn is_gone_for(person: &Person, media: &str) {
    eventually(async || person.download(media).await.status == StatusCode::NOT_FOUND).await;
    person.download(media).await.is_refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
    person.thumbnail(media).await.is_refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
}
