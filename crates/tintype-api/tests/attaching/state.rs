//! `PUT …/state/…` with media.

use http::Method;
use serde_json::json;
use tintype_domain::Audience;

use super::{ROOM, Setting, attaching, event, invalid, put};

/// Where the homeserver is asked for the current avatar of the room.
const CURRENT: &str = "/_matrix/client/v3/rooms/%21room%3Aexample.org/state/m.room.avatar/";

#[tokio::test]
async fn media_belongs_to_the_state_event_that_it_is_sent_with() {
    for (path, state_key) in
        [("state/m.room.avatar", ""), ("state/m.room.avatar/", ""), ("state/org.example.picture/a%2Fb", "a/b")]
    {
        let setting = Setting::new().await;
        let one = setting.restricted("one").await;
        let path = format!("{ROOM}/{path}");
        setting.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": "$event" }));

        let answer = put(&setting.alice, attaching(&path, [&one]), &json!({ "url": one.to_string() })).await;

        assert_eq!((answer.status(), answer.json()), (200, json!({ "event_id": "$event" })), "{path}");
        assert_eq!(setting.forwarded(&Method::PUT)[0].target, path);
        assert_eq!(setting.audience(&one).await, event("$event"));
        let known = setting.server.known_event("$event").await.unwrap();
        assert_eq!(known.state_key.as_deref(), Some(state_key), "{path}");
    }
}

#[tokio::test]
async fn media_belongs_to_the_event_that_the_homeserver_had_already() {
    let setting = Setting::new().await;
    let (one, two) = (setting.restricted("one").await, setting.restricted("two").await);
    let path = format!("{ROOM}/state/org.example.picture/");
    setting.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": "$same" }));

    for mxc in [&one, &two] {
        let answer = put(&setting.alice, attaching(&path, [mxc]), &json!({ "the": "same" })).await;
        assert_eq!(answer.json(), json!({ "event_id": "$same" }));
        assert_eq!(setting.audience(mxc).await, event("$same"));
    }
}

#[tokio::test]
async fn a_retry_is_answered_with_the_event_as_long_as_it_is_the_current_one() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let path = format!("{ROOM}/state/m.room.avatar");
    setting.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": "$event" }));
    let set = async || put(&setting.alice, attaching(&path, [&one]), &json!({})).await;
    assert_eq!(set().await.status(), 200);

    setting.homeserver.answers(Method::GET, CURRENT, 200, &json!({ "event_id": "$event" }));
    assert_eq!(set().await.json(), json!({ "event_id": "$event" }));
    setting.homeserver.answers(Method::GET, CURRENT, 200, &json!({ "event_id": "$newer" }));
    assert_eq!(set().await.error(), invalid());
    setting.homeserver.answers(Method::GET, CURRENT, 500, &json!({}));
    assert_eq!(set().await.error(), (503, "M_UNKNOWN".to_owned()));

    assert_eq!(setting.forwarded(&Method::PUT).len(), 1);
}

#[tokio::test]
async fn what_was_refused_leaves_the_media_free() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let path = format!("{ROOM}/state/m.room.avatar");
    let refusal = json!({ "errcode": "M_FORBIDDEN", "error": "You may not" });
    setting.homeserver.answers(Method::PUT, &path, 403, &refusal);

    let answer = put(&setting.alice, attaching(&path, [&one]), &json!({})).await;

    assert_eq!((answer.status(), answer.json()), (403, refusal));
    assert_eq!(setting.audience(&one).await, Audience::Uploader);
}

/// Where Alice's own membership is set.
const MEMBER: &str = "state/m.room.member/@alice:example.org";

#[tokio::test]
async fn a_membership_with_a_restricted_avatar_gets_a_copy_of_its_own() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let path = format!("{ROOM}/{MEMBER}");
    setting.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": "$event" }));
    let content = json!({ "membership": "join", "displayname": "Alice", "avatar_url": one.to_string() });

    let answer = put(&setting.alice, path.clone(), &content).await;

    assert_eq!((answer.status(), answer.json()), (200, json!({ "event_id": "$event" })));
    let [forwarded] = &setting.forwarded(&Method::PUT)[..] else { panic!("one request was forwarded") };
    assert_eq!(forwarded.target, path);
    let sent: serde_json::Value = serde_json::from_slice(&forwarded.body).unwrap();
    assert_eq!((&sent["membership"], &sent["displayname"]), (&json!("join"), &json!("Alice")));
    let copy = sent["avatar_url"].as_str().unwrap().parse().unwrap();
    assert_ne!(copy, one);
    assert_eq!(setting.audience(&copy).await, event("$event"));
    assert_eq!(setting.audience(&one).await, Audience::Uploader);
}

#[tokio::test]
async fn a_membership_without_an_avatar_of_ones_own_is_passed_on_as_it_is() {
    let setting = Setting::new().await;
    let bobs = setting.restricted_of("@bob:example.org", "bobs").await;
    let one = setting.restricted("one").await;
    let unrestricted = setting.alice.upload("hello").await;
    let path = format!("{ROOM}/{MEMBER}");
    setting.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": "$event" }));

    for (target, content) in [
        (path.clone(), json!({ "membership": "leave" })),
        (path.clone(), json!({ "avatar_url": bobs.to_string(), "membership": "join" })),
        (path.clone(), json!({ "avatar_url": unrestricted.to_string(), "membership": "join" })),
        (path.clone(), json!({ "avatar_url": "mxc://elsewhere.example/one", "membership": "join" })),
        (path.clone(), json!({ "avatar_url": "", "membership": "join" })),
        (format!("{path}?org.matrix.msc4140.delay=1"), json!({ "avatar_url": one.to_string(), "membership": "join" })),
    ] {
        assert_eq!(put(&setting.alice, target.clone(), &content).await.status(), 200);
        let forwarded = setting.forwarded(&Method::PUT).pop().unwrap();
        assert_eq!((forwarded.target, &forwarded.body[..]), (target, content.to_string().as_bytes()));
    }
}

#[tokio::test]
async fn an_avatar_that_is_attached_to_the_membership_itself_is_not_copied() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let path = format!("{ROOM}/{MEMBER}");
    setting.homeserver.answers(Method::PUT, &path, 200, &json!({ "event_id": "$event" }));
    let content = json!({ "membership": "join", "avatar_url": one.to_string() });

    assert_eq!(put(&setting.alice, attaching(&path, [&one]), &content).await.status(), 200);

    assert_eq!(setting.forwarded(&Method::PUT)[0].body, content.to_string());
    assert_eq!(setting.audience(&one).await, event("$event"));
}
