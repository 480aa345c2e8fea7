//! Answers that never came, clients that ask again, and servers that stop in between.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tintype_domain::Audience;
use tintype_testing::{Client, until};

use super::{ROOM, Setting, attaching, event, invalid, put, send};

/// Makes the homeserver take the request and say nothing of use.
type Fails = fn(&Setting);

const FAILURES: [(&str, Fails); 7] = [
    ("500", |setting| setting.answers("1", 500, &json!({ "errcode": "M_UNKNOWN", "error": "?" }))),
    ("502", |setting| setting.homeserver.answers_text(Method::PUT, &path(), 502, "<html>Bad gateway</html>")),
    ("no event ID", |setting| setting.answers("1", 200, &json!({}))),
    ("no valid event ID", |setting| setting.answers("1", 200, &json!({ "event_id": "event" }))),
    ("garbage", |setting| setting.homeserver.answers_text(Method::PUT, &path(), 200, "<html>Hello</html>")),
    ("a redirect", |setting| setting.answers("1", 302, &json!({}))),
    ("a cut", |setting| setting.homeserver.cuts(Method::PUT, &path())),
];

fn path() -> String {
    format!("{ROOM}/send/m.room.message/1")
}

#[tokio::test]
async fn when_nobody_knows_what_became_of_it_only_the_retry_can_attach_it() {
    for (failure, fails) in FAILURES {
        let setting = Setting::new().await;
        let one = setting.restricted("one").await;
        fails(&setting);

        send(&setting.alice, "1", [&one]).await;

        assert_eq!(setting.audience(&one).await, Audience::Attaching, "{failure}");
        assert_eq!(send(&setting.alice, "2", [&one]).await.error(), invalid(), "{failure}");
        assert_eq!(setting.forwarded(&Method::PUT).len(), 1, "nothing is repeated by itself: {failure}");
        setting.takes("1", "$event");
        let retried = send(&setting.alice, "1", [&one]).await;
        assert_eq!(retried.json(), json!({ "event_id": "$event" }), "{failure}");
        assert_eq!(setting.audience(&one).await, event("$event"), "{failure}");
    }
}

#[tokio::test]
async fn a_cut_is_told_as_what_it_is() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    setting.homeserver.cuts(Method::PUT, &path());

    assert_eq!(send(&setting.alice, "1", [&one]).await.error(), (502, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_retry_of_what_was_sent_is_answered_with_its_event() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");
    send(&setting.alice, "1", [&one]).await;
    setting.takes("1", "$other");

    let retried = send(&setting.alice, "1", [&one]).await;

    assert_eq!((retried.status(), retried.json()), (200, json!({ "event_id": "$event" })));
    assert_eq!(setting.forwarded(&Method::PUT).len(), 1);
    setting.server.advance(Duration::from_hours(24));
    assert_eq!(send(&setting.alice, "1", [&one]).await.error(), invalid(), "a day later");
}

#[tokio::test]
async fn a_transaction_is_not_used_for_something_else() {
    let setting = Setting::new().await;
    let (one, two) = (setting.restricted("one").await, setting.restricted("two").await);
    setting.takes("1", "$event");
    send(&setting.alice, "1", [&one]).await;

    assert_eq!(send(&setting.alice, "1", [&two]).await.error(), invalid());
    assert_eq!(send(&setting.alice, "1", [&one, &two]).await.error(), invalid());
    let body = json!({ "msgtype": "m.text", "body": "something else" });
    assert_eq!(put(&setting.alice, attaching(path(), [&one]), &body).await.error(), invalid());

    assert_eq!(setting.forwarded(&Method::PUT).len(), 1);
    assert_eq!(setting.audience(&two).await, Audience::Uploader);
}

#[tokio::test]
async fn a_refused_retry_does_not_free_what_the_first_attempt_may_have_sent() {
    for status in [401, 403, 429] {
        let setting = Setting::new().await;
        let one = setting.restricted("one").await;
        setting.homeserver.cuts(Method::PUT, &path());
        send(&setting.alice, "1", [&one]).await;

        setting.answers("1", status, &json!({ "errcode": "M_FORBIDDEN", "error": "no" }));
        assert_eq!(send(&setting.alice, "1", [&one]).await.status(), status);

        assert_eq!(setting.audience(&one).await, Audience::Attaching, "{status}");
        assert_eq!(send(&setting.alice, "2", [&one]).await.error(), invalid());
        setting.takes("1", "$event");
        assert_eq!(send(&setting.alice, "1", [&one]).await.status(), 200);
        assert_eq!(setting.audience(&one).await, event("$event"));
    }
}

/// Sends message 1 in the background; what is returned is awaited for the answer.
fn sending(client: &Client, media: &tintype_domain::Mxc) -> tokio::task::JoinHandle<tintype_testing::Response> {
    let (client, media) = (client.clone(), media.clone());
    tokio::spawn(async move { send(&client, "1", [&media]).await })
}

#[tokio::test]
async fn a_retry_waits_for_what_it_repeats() {
    let setting = Setting::new().await;
    setting.server.is_at_one_node("a token that was asked about is known to the node that asked");
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");
    assert_eq!(setting.alice.upload("so that the token is known").await.server_name, "example.org");
    let held_back = setting.homeserver.hold_back().await;
    let first = sending(&setting.alice, &one);
    until("it is forwarded", async || setting.forwarded(&Method::PUT).len() == 1).await;

    let second = sending(&setting.alice, &one);
    drop(held_back);

    assert_eq!(first.await.unwrap().json(), json!({ "event_id": "$event" }));
    assert_eq!(second.await.unwrap().json(), json!({ "event_id": "$event" }));
    assert_eq!(setting.forwarded(&Method::PUT).len(), 1);
}

#[tokio::test]
async fn what_was_begun_ends_even_if_the_client_has_gone() {
    let setting = Setting::new().await;
    setting.server.is_at_one_node("a token that was asked about is known to the node that asked");
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");
    assert_eq!(setting.alice.upload("so that the token is known").await.server_name, "example.org");
    let held_back = setting.homeserver.hold_back().await;
    let request = sending(&setting.alice, &one);
    until("it is forwarded", async || setting.forwarded(&Method::PUT).len() == 1).await;

    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    drop(held_back);

    until("it is attached", async || setting.audience(&one).await == event("$event")).await;
}

#[tokio::test]
async fn what_was_under_way_when_the_server_stopped_is_retried_after_the_next_start() {
    let setting = Setting::new().await;
    setting.server.is_at_one_node("a token that was asked about is known to the node that asked");
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");
    assert_eq!(setting.alice.upload("so that the token is known").await.server_name, "example.org");
    let held_back = setting.homeserver.hold_back().await;
    let request = sending(&setting.alice, &one);
    until("it is forwarded", async || setting.forwarded(&Method::PUT).len() == 1).await;
    request.abort();

    let server = setting.server.restart().await;
    drop(held_back);

    assert_eq!(server.audience(&one).await, Some(Audience::Attaching));
    let alice = server.anonymous().with_token("syt_alice");
    assert_eq!(send(&alice, "2", [&one]).await.error(), invalid());
    assert_eq!(send(&alice, "1", [&one]).await.json(), json!({ "event_id": "$event" }));
    assert_eq!(server.audience(&one).await, Some(event("$event")));
}
