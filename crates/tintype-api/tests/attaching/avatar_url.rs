//! `PUT /profile/{userId}/avatar_url` with a restricted picture.

use http::Method;
use serde_json::{Value, json};
use tintype_domain::Audience;

use super::{Setting, invalid, put, send};

const ALICE: &str = "/_matrix/client/v3/profile/@alice:example.org/avatar_url";

async fn set(setting: &Setting, avatar_url: Value) -> tintype_testing::Response {
    put(&setting.alice, ALICE.to_owned(), &json!({ "avatar_url": avatar_url })).await
}

#[tokio::test]
async fn a_restricted_picture_becomes_part_of_the_profile() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    setting.homeserver.answers(Method::PUT, ALICE, 200, &json!({}));

    let answer = set(&setting, one.to_string().into()).await;

    assert_eq!((answer.status(), answer.json()), (200, json!({})));
    assert_eq!(setting.audience(&one).await, Audience::Profile("@alice:example.org".try_into().unwrap()));
    assert_eq!(setting.forwarded(&Method::PUT)[0].target, ALICE);
}

#[tokio::test]
async fn what_is_none_of_our_business_passes_untouched() {
    let setting = Setting::new().await;
    let unrestricted = setting.alice.upload("hello").await;
    setting.homeserver.answers(Method::PUT, ALICE, 200, &json!({}));
    let bodies = [
        json!({ "avatar_url": unrestricted.to_string() }).to_string(),
        json!({ "avatar_url": "mxc://example.org/unknown" }).to_string(),
        json!({ "avatar_url": "mxc://elsewhere.example/one" }).to_string(),
        json!({ "avatar_url": "" }).to_string(),
        json!({ "avatar_url": null }).to_string(),
        json!({ "avatar_url": "https://example.org/cat.png" }).to_string(),
        "{ }".to_owned(),
        "[]".to_owned(),
        "not JSON".to_owned(),
        String::new(),
    ];

    for body in &bodies {
        let answer = setting.alice.request(Method::PUT, ALICE).body(body.clone()).await;
        assert_eq!(answer.status(), 200, "{body}");
    }

    let forwarded = setting.forwarded(&Method::PUT);
    assert_eq!(
        forwarded.iter().map(|asked| &asked.body[..]).collect::<Vec<_>>(),
        bodies.iter().map(String::as_bytes).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_picture_that_is_not_free_is_refused_before_anything_is_forwarded() {
    let setting = Setting::new().await;
    let bobs = setting.restricted_of("@bob:example.org", "bobs").await;
    let attached = setting.restricted("attached").await;
    setting.takes("1", "$event");
    assert_eq!(send(&setting.alice, "1", [&attached]).await.status(), 200);
    let before = setting.forwarded(&Method::PUT).len();

    for mxc in [&bobs, &attached] {
        assert_eq!(set(&setting, mxc.to_string().into()).await.error(), invalid(), "{mxc}");
    }

    assert_eq!(setting.forwarded(&Method::PUT).len(), before);
    assert_eq!(setting.audience(&bobs).await, Audience::Uploader);
}

#[tokio::test]
async fn the_current_avatar_may_be_set_again_and_an_earlier_one_not() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    setting.homeserver.answers(Method::PUT, ALICE, 200, &json!({}));
    assert_eq!(set(&setting, one.to_string().into()).await.status(), 200);
    let profile = "/_matrix/client/v3/profile/%40alice%3Aexample.org";

    setting.homeserver.answers(Method::GET, profile, 200, &json!({ "avatar_url": one.to_string() }));
    assert_eq!(set(&setting, one.to_string().into()).await.status(), 200);
    setting.homeserver.answers(Method::GET, profile, 200, &json!({ "avatar_url": "mxc://example.org/two" }));
    assert_eq!(set(&setting, one.to_string().into()).await.error(), invalid());

    assert_eq!(setting.forwarded(&Method::PUT).len(), 2);
}

#[tokio::test]
async fn what_the_homeserver_refuses_leaves_the_picture_free_and_what_is_unknown_is_retried() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    setting.homeserver.answers(Method::PUT, ALICE, 403, &json!({ "errcode": "M_FORBIDDEN", "error": "no" }));
    assert_eq!(set(&setting, one.to_string().into()).await.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(setting.audience(&one).await, Audience::Uploader);

    setting.homeserver.cuts(Method::PUT, ALICE);
    assert_eq!(set(&setting, one.to_string().into()).await.status(), 502);
    assert_eq!(setting.audience(&one).await, Audience::Attaching);
    setting.homeserver.answers(Method::PUT, ALICE, 200, &json!({}));
    assert_eq!(set(&setting, one.to_string().into()).await.status(), 200);

    assert_eq!(setting.audience(&one).await, Audience::Profile("@alice:example.org".try_into().unwrap()));
}
