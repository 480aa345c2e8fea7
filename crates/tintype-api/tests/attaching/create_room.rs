//! `POST /createRoom` with a restricted avatar.

use http::Method;
use serde_json::{Value, json};
use tintype_domain::{Audience, Mxc};
use tintype_testing::{Response, until};

use super::{Setting, event, invalid};

const CREATE: &str = "/_matrix/client/v3/createRoom";

/// Where the homeserver is asked for the avatar of the room that it has created.
const AVATAR: &str = "/_matrix/client/v3/rooms/%21new%3Aexample.org/state/m.room.avatar/";

fn room_with(url: &str) -> Value {
    json!({
        "preset": "private_chat",
        "initial_state": [{ "type": "m.room.avatar", "state_key": "", "content": { "url": url } }],
    })
}

async fn create(setting: &Setting, body: &Value) -> Response {
    setting.alice.post(CREATE).body(body.to_string()).await
}

/// The homeserver creates rooms, and the avatar is set by `$avatar`.
fn creates(setting: &Setting, sender: &str, avatar: &Mxc) {
    setting.homeserver.answers(Method::POST, CREATE, 200, &json!({ "room_id": "!new:example.org" }));
    let event = json!({ "event_id": "$avatar", "sender": sender, "content": { "url": avatar.to_string() } });
    setting.homeserver.answers(Method::GET, AVATAR, 200, &event);
}

#[tokio::test]
async fn the_avatar_belongs_to_the_event_that_sets_it() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    creates(&setting, "@alice:example.org", &one);
    let body = room_with(&one.to_string());

    let answer = create(&setting, &body).await;

    assert_eq!((answer.status(), answer.json()), (200, json!({ "room_id": "!new:example.org" })));
    assert_eq!(setting.forwarded(&Method::POST)[0].body, body.to_string());
    assert_eq!(setting.audience(&one).await, event("$avatar"));
    let known = setting.server.known_event("$avatar").await.unwrap();
    assert_eq!(known.room_id.unwrap(), "!new:example.org");
    assert_eq!(known.event_type.unwrap(), "m.room.avatar");
    assert_eq!(known.state_key.unwrap(), "");
}

#[tokio::test]
async fn what_is_none_of_our_business_passes_untouched() {
    let setting = Setting::new().await;
    let unrestricted = setting.alice.upload("hello").await.to_string();
    setting.homeserver.answers(Method::POST, CREATE, 200, &json!({ "room_id": "!new:example.org" }));

    for body in [
        json!({}),
        room_with(&unrestricted),
        room_with("mxc://example.org/unknown"),
        room_with("mxc://elsewhere.example/one"),
        room_with(""),
        json!({ "initial_state": 7 }),
    ] {
        assert_eq!(create(&setting, &body).await.status(), 200, "{body}");
        assert_eq!(setting.forwarded(&Method::POST).last().unwrap().body, body.to_string());
    }
}

#[tokio::test]
async fn an_avatar_that_is_not_free_is_refused_before_there_is_a_room() {
    let setting = Setting::new().await;
    let bobs = setting.restricted_of("@bob:example.org", "bobs").await;
    let one = setting.restricted("one").await;
    creates(&setting, "@alice:example.org", &one);
    assert_eq!(create(&setting, &room_with(&one.to_string())).await.status(), 200);

    for mxc in [&bobs, &one] {
        assert_eq!(create(&setting, &room_with(&mxc.to_string())).await.error(), invalid(), "{mxc}");
    }

    assert_eq!(setting.forwarded(&Method::POST).len(), 1);
}

#[tokio::test]
async fn an_avatar_whose_event_is_not_found_is_not_attached_to_another_one() {
    for (sender, avatar) in [("@bob:example.org", "one"), ("@alice:example.org", "other")] {
        let setting = Setting::new().await;
        let one = setting.restricted("one").await;
        creates(&setting, sender, &format!("mxc://example.org/{avatar}").parse().unwrap());

        let answer = create(&setting, &room_with(&one.to_string())).await;

        assert_eq!(answer.json(), json!({ "room_id": "!new:example.org" }));
        assert_eq!(setting.audience(&one).await, Audience::Attaching, "{sender} {avatar}");
    }
}

#[tokio::test]
async fn a_room_that_is_not_created_leaves_the_avatar_free() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let refusal = json!({ "errcode": "M_ROOM_IN_USE", "error": "There is one" });
    setting.homeserver.answers(Method::POST, CREATE, 400, &refusal);

    let answer = create(&setting, &room_with(&one.to_string())).await;

    assert_eq!((answer.status(), answer.json()), (400, refusal));
    assert_eq!(setting.audience(&one).await, Audience::Uploader);
}

#[tokio::test]
async fn an_avatar_whose_event_was_not_found_at_once_is_looked_for_later() {
    let setting = Setting::with("appservice_token = 'as_token'\nhomeserver_token = 'hs_token'\n").await;
    let one = setting.restricted("one").await;
    creates(&setting, "@alice:example.org", &one);
    setting.homeserver.answers(Method::GET, AVATAR, 500, &json!({}));
    assert_eq!(create(&setting, &room_with(&one.to_string())).await.status(), 200);
    assert_eq!(setting.audience(&one).await, Audience::Attaching);

    creates(&setting, "@alice:example.org", &one);
    setting.server.advance(std::time::Duration::from_mins(1));

    until("it is attached", async || setting.audience(&one).await == event("$avatar")).await;
    let asked = setting.homeserver.asked();
    let asked = asked.iter().rfind(|asked| asked.target.starts_with(AVATAR)).unwrap();
    assert_eq!(asked.headers["authorization"], "Bearer as_token");
}
