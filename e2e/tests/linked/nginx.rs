//! Without pass-through: nginx sends Tintype no more than the routes in its file, and everything else to the homeserver.

use e2e::front_door::{Front, FrontDoor, Setting};
use reqwest::StatusCode;

use e2e::person::eventually;

#[tokio::test]
async fn media_is_attached_and_seen_behind_nginx() {
    let door = FrontDoor::start(Setting { front: Front::Nginx, ..Setting::default() }).await;
    let (alice, bob) = (door.person("alice").await, door.person("bob").await);
    let mallory = door.person("mallory").await;
    let (message, room_avatar, member_avatar, avatar) =
        (alice.upload().await, alice.upload().await, alice.upload().await, alice.upload().await);

    let room = alice.create_room("joined").await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    alice.set_room_avatar(&room, &room_avatar).await;
    alice.set_member_avatar(&room, &member_avatar).await;
    alice.set_avatar(&avatar).await;
    let event = alice.send(&room, &message).await;

    for media in [&message, &room_avatar, &member_avatar] {
        bob.download(media).await.is_the_photograph();
        mallory.download(media).await.is_unauthorized();
    }
    bob.download(&avatar).await.is_the_photograph();
    alice.redact(&room, &event).await;
    eventually(async || bob.download(&message).await.status == StatusCode::NOT_FOUND).await;
}
