//! Others see the event before the homeserver's answer to its sending is here.

use std::future::IntoFuture as _;

use http::Method;
use serde_json::json;
use tintype_domain::Audience;
use tintype_testing::{paths, until};

use super::{EVENT, ROOM, World, hidden, message, not_visible};

#[tokio::test]
async fn whoever_sees_the_event_first_waits_for_the_answer_to_its_sending_and_is_judged_then() {
    for (status, body, expected) in [(200, message(), 200), (403, hidden(), 403)] {
        let world = World::start().await;
        let mxc = world.unattached().await;
        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());
        assert_eq!(world.alice.get(paths::download(&mxc)).await.status(), 200);
        let path = format!("/_matrix/client/v3/rooms/{ROOM}/send/m.room.message/1");
        world.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": EVENT }));
        world.answers_bob(status, &body);
        let held_back = world.homeserver.hold_back().await;
        let send = world.alice.request(Method::PUT, format!("{path}?org.matrix.msc3911.attach_media={mxc}")).body("{}");
        let sending = tokio::spawn(send.into_future());
        let is_attaching = async || world.server.audience(&mxc).await == Some(Audience::Attaching);
        until("the media is being attached", is_attaching).await;

        let waits = world.server.waiting(world.bob.get(paths::download(&mxc))).await;
        let of_uploader = world.alice.get(paths::download(&mxc)).await;
        drop(held_back);

        assert_eq!(of_uploader.status(), 200);
        assert_eq!(sending.await.unwrap().status(), 200);
        assert_eq!(waits.await.status(), expected);
    }
}

#[tokio::test]
async fn whoever_waits_for_an_event_that_is_not_to_be_is_refused() {
    let world = World::start().await;
    let mxc = world.unattached().await;
    assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), not_visible());
    assert_eq!(world.alice.get(paths::download(&mxc)).await.status(), 200);
    let path = format!("/_matrix/client/v3/rooms/{ROOM}/send/m.room.message/1");
    world.homeserver.answers(Method::PUT, &path, 403, &hidden());
    let held_back = world.homeserver.hold_back().await;
    let send = world.alice.request(Method::PUT, format!("{path}?org.matrix.msc3911.attach_media={mxc}")).body("{}");
    let sending = tokio::spawn(send.into_future());
    let is_attaching = async || world.server.audience(&mxc).await == Some(Audience::Attaching);
    until("the media is being attached", is_attaching).await;
    let waits = world.server.waiting(world.bob.get(paths::download(&mxc))).await;

    drop(held_back);

    assert_eq!(sending.await.unwrap().status(), 403);
    assert_eq!(waits.await.error(), not_visible());
}
