//! Redactions: what the homeserver applied is gone, and nothing else.

use e2e::person::{Person, eventually};
use reqwest::StatusCode;

use crate::front_door;

#[tokio::test]
async fn what_its_sender_redacts_is_gone() {
    let (alice, bob, room) = two_in_a_room("sender").await;
    let media = bob.upload().await;
    let event = bob.send(&room, &media).await;
    alice.download(&media).await.is_the_photograph();
    alice.thumbnail(&media).await.is_its_thumbnail();

    bob.redact(&room, &event).await;

    is_gone_for([&alice, &bob], &media).await;
}

#[tokio::test]
async fn what_a_moderator_redacts_is_gone() {
    let (alice, bob, room) = two_in_a_room("moderator").await;
    let media = bob.upload().await;
    let event = bob.send(&room, &media).await;
    alice.download(&media).await.is_the_photograph();

    alice.redact(&room, &event).await;

    is_gone_for([&alice, &bob], &media).await;
}

#[tokio::test]
async fn what_others_want_redacted_stays() {
    let (alice, bob, room) = two_in_a_room("others").await;
    let media = alice.upload().await;
    let event = alice.send(&room, &media).await;

    let redaction = bob.try_to_redact(&room, &event).await;

    redaction.is_refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
    // A redaction that counts, of something else, proves that this one has had its time.
    let other = alice.upload().await;
    let event = alice.send(&room, &other).await;
    alice.redact(&room, &event).await;
    is_gone_for([&alice, &bob], &other).await;
    bob.download(&media).await.is_the_photograph();
}

#[tokio::test]
async fn redacted_media_is_shown_to_moderators_who_ask_for_it() {
    let (alice, bob, room) = two_in_a_room("asked").await;
    let media = bob.upload().await;
    let event = bob.send(&room, &media).await;
    alice.redact(&room, &event).await;
    is_gone_for([&alice, &bob], &media).await;

    let query = "?allow_redacted_media=true";
    let moderators = e2e::person::answer(alice.downloading(&media, query)).await.expect("Tintype answers");
    let senders = e2e::person::answer(bob.downloading(&media, query)).await.expect("Tintype answers");

    moderators.is_the_photograph();
    assert_eq!(senders.status, StatusCode::FORBIDDEN, "{}", senders.json);
}

async fn is_gone_for<const N: usize>(people: [&Person; N], media: &str) {
    for person in people {
        eventually(async || person.download(media).await.status == StatusCode::NOT_FOUND).await;
        person.download(media).await.is_refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        person.thumbnail(media).await.is_refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
    }
}

/// A room of a moderator and another member.
async fn two_in_a_room(name: &str) -> (Person, Person, String) {
    let door = front_door().await;
    let [alice, bob] = ["alice", "bob"].map(|who| format!("redactions_{name}_{who}"));
    let (alice, bob) = (door.person(&alice).await, door.person(&bob).await);
    let room = alice.create_room("joined").await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    (alice, bob, room)
}
