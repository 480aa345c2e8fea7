//! Avatars of profiles: seen by whom the homeserver shows the profile. It shows it here to those who share a room.

use e2e::person::Person;
use reqwest::StatusCode;

use crate::front_door;

#[tokio::test]
async fn the_avatar_of_a_profile_is_seen_by_who_shares_a_room() {
    let (alice, bob, _) = two_who_share_a_room_and_another("profile").await;
    let avatar = alice.upload().await;
    alice.set_avatar(&avatar).await;

    assert!(bob.is_shown_profile(&alice).await);
    bob.download(&avatar).await.is_the_photograph();
    bob.thumbnail(&avatar).await.is_its_thumbnail();
    alice.download(&avatar).await.is_the_photograph();
}

#[tokio::test]
async fn the_avatar_of_a_profile_is_hidden_with_the_profile() {
    let (alice, _, mallory) = two_who_share_a_room_and_another("hidden").await;
    let avatar = alice.upload().await;
    alice.set_avatar(&avatar).await;

    assert!(!mallory.is_shown_profile(&alice).await);
    mallory.download(&avatar).await.is_unauthorized();
    mallory.thumbnail(&avatar).await.is_unauthorized();
}

#[tokio::test]
async fn a_replaced_avatar_is_still_seen() {
    let (alice, bob, mallory) = two_who_share_a_room_and_another("replaced").await;
    let (former, avatar) = (alice.upload().await, alice.upload().await);
    alice.set_avatar(&former).await;
    alice.set_avatar(&avatar).await;

    bob.download(&former).await.is_the_photograph();
    mallory.download(&former).await.is_unauthorized();
}

#[tokio::test]
async fn the_media_of_others_is_no_avatar() {
    let (alice, bob, _) = two_who_share_a_room_and_another("others").await;
    let avatar = alice.upload().await;

    bob.try_to_set_avatar(&avatar).await.is_refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");

    bob.download(&avatar).await.is_unauthorized();
    alice.set_avatar(&avatar).await;
    bob.download(&avatar).await.is_the_photograph();
}

#[tokio::test]
async fn media_that_is_for_everybody_can_be_an_avatar_too() {
    let (alice, _, mallory) = two_who_share_a_room_and_another("everybody").await;
    let avatar = alice.upload_for_everybody().await;

    alice.set_avatar(&avatar).await;

    mallory.download(&avatar).await.is_the_photograph();
}

#[tokio::test]
async fn media_that_is_attached_to_nothing_is_seen_by_its_uploader_alone() {
    let (alice, bob, mallory) = two_who_share_a_room_and_another("unattached").await;
    let media = alice.upload().await;

    alice.download(&media).await.is_the_photograph();
    bob.download(&media).await.is_unauthorized();
    mallory.download(&media).await.is_unauthorized();
}

async fn two_who_share_a_room_and_another(name: &str) -> (Person, Person, Person) {
    let door = front_door().await;
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|who| format!("{name}_{who}"));
    let (alice, bob) = (door.person(&alice).await, door.person(&bob).await);
    let room = alice.create_room("joined").await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    (alice, bob, door.person(&mallory).await)
}
