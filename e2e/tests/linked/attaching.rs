//! Attaching: what clients send through Tintype, and what the homeserver has then.

use e2e::person::{Person, answer, transaction};
use reqwest::StatusCode;
use serde_json::json;

use crate::front_door;

#[tokio::test]
async fn media_belongs_to_one_event() {
    let (alice, bob, room) = two_in_a_room("once").await;
    let media = alice.upload().await;
    alice.send(&room, &media).await;

    let again = alice.try_to_send(&room, &transaction(), &media).await;
    let by_another = bob.try_to_send(&room, &transaction(), &media).await;

    again.is_refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    by_another.is_refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    assert_eq!(alice.events_with(&room, &media).await.len(), 1);
}

#[tokio::test]
async fn the_same_transaction_is_answered_with_the_same_event() {
    let (alice, _, room) = two_in_a_room("again").await;
    let (media, other) = (alice.upload().await, alice.upload().await);
    let name = transaction();

    let first = alice.try_to_send(&room, &name, &media).await;
    let again = alice.try_to_send(&room, &name, &media).await;
    let with_other_media = alice.try_to_send(&room, &name, &other).await;

    assert_eq!(first.status, StatusCode::OK, "{}", first.json);
    assert_eq!(again, first);
    with_other_media.is_refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    assert_eq!(alice.events_with(&room, &media).await.len(), 1);
    assert_eq!(alice.events_with(&room, &other).await.len(), 0);
}

#[tokio::test]
async fn state_that_is_there_already_keeps_its_event() {
    let (alice, bob, room) = two_in_a_room("state").await;
    let media = alice.upload().await;

    let first = alice.set_room_avatar(&room, &media).await;
    let again = alice.set_room_avatar(&room, &media).await;

    assert_eq!(again, first);
    bob.download(&media).await.is_the_photograph();
}

#[tokio::test]
async fn what_the_homeserver_refuses_is_free_again() {
    let (alice, bob, room) = two_in_a_room("refused").await;
    let media = bob.upload().await;

    // Members may not give the room an avatar.
    let refusal = answer(bob.setting_room_avatar(&room, &media)).await.expect("Tintype answers");

    refusal.is_refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
    alice.download(&media).await.is_unauthorized();
    bob.send(&room, &media).await;
    alice.download(&media).await.is_the_photograph();
}

#[tokio::test]
async fn the_media_of_others_is_attached_to_nothing() {
    let (alice, bob, room) = two_in_a_room("stolen").await;
    let media = alice.upload().await;

    bob.try_to_send(&room, &transaction(), &media).await.is_refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");

    bob.download(&media).await.is_unauthorized();
    assert_eq!(alice.events_with(&room, &media).await.len(), 0);
}

#[tokio::test]
async fn a_room_can_begin_with_an_avatar() {
    let door = front_door().await;
    let (alice, bob) = (door.person("beginning_alice").await, door.person("beginning_bob").await);
    let mallory = door.person("beginning_mallory").await;
    let avatar = alice.upload().await;
    let state = json!({ "type": "m.room.avatar", "state_key": "", "content": { "url": avatar } });

    let room = alice.create(&json!({ "preset": "private_chat", "initial_state": [state] })).await;

    bob.download(&avatar).await.is_unauthorized();
    alice.invite(&room, &bob).await;
    bob.download(&avatar).await.is_the_photograph();
    mallory.download(&avatar).await.is_unauthorized();
}

#[tokio::test]
async fn a_member_event_gets_a_copy_of_the_avatar_of_the_profile() {
    let (alice, bob, room) = two_in_a_room("copy").await;
    let avatar = alice.upload().await;
    alice.set_avatar(&avatar).await;

    alice.set_member_avatar_unattached(&room, &avatar).await;

    let state = bob.state(&room, ("m.room.member", alice.id())).await;
    let copy = state["avatar_url"].as_str().expect("the member has an avatar");
    assert_ne!(copy, avatar);
    bob.download(copy).await.is_the_photograph();
    bob.download(&avatar).await.is_the_photograph();
}

/// A room of a moderator and another member.
async fn two_in_a_room(name: &str) -> (Person, Person, String) {
    let door = front_door().await;
    let [alice, bob] = ["alice", "bob"].map(|who| format!("attaching_{name}_{who}"));
    let (alice, bob) = (door.person(&alice).await, door.person(&bob).await);
    let room = alice.create_room("joined").await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    (alice, bob, room)
}
