//! `PUT /_matrix/app/v1/transactions/{txnId}`

use http::Method;
use serde_json::json;
use tintype_testing::{FakeHomeserver, TestServer};

use super::{ALICE, Pair, TOKEN, member, message};

pub(super) fn path(id: &str) -> String {
    format!("/_matrix/app/v1/transactions/{id}")
}

#[tokio::test]
async fn a_transaction_is_acknowledged_and_counted_once() {
    let pair = Pair::start().await;
    let events = [message("$1", ALICE), message("$2", ALICE)];

    for _ in 0..3 {
        let answer = pair.sends("1", &events).await;
        assert_eq!((answer.status(), &answer.bytes()[..]), (200, &b"{}"[..]));
    }

    assert_eq!(pair.server.metric("tintype_stream_transactions_total").await, 1);
    assert_eq!(pair.server.metric("tintype_stream_events_total").await, 2);
}

#[tokio::test]
async fn a_transaction_that_is_repeated_after_a_restart_is_not_applied_again() {
    let Pair { homeserver, server } = Pair::start().await;
    let pair = Pair { homeserver, server };
    pair.sends("1", &[message("$1", ALICE)]).await;
    let pair = Pair { server: pair.server.restart().await, ..pair };

    let answer = pair.sends("1", &[message("$1", ALICE)]).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(pair.server.metric("tintype_stream_events_total").await, 0);
}

#[tokio::test]
async fn an_event_that_is_none_is_passed_over_and_the_others_count() {
    let pair = Pair::start().await;
    let mut nameless = message("$1", ALICE);
    nameless["event_id"] = json!(7);

    let answer = pair.sends("1", &[nameless, json!("nonsense"), json!(null), message("$2", ALICE)]).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(pair.server.metric("tintype_stream_events_total").await, 1);
}

#[tokio::test]
async fn what_is_not_about_events_is_passed_over() {
    let pair = Pair::start().await;
    let body = json!({ "ephemeral": [{ "type": "m.typing" }], "to_device": [], "device_lists": { "changed": [] } });

    let answer = pair.speaks().request(Method::PUT, path("1")).body(body.to_string()).await;

    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let pair = Pair::start().await;

    for (body, errcode) in [("", "M_NOT_JSON"), ("{", "M_NOT_JSON"), ("[]", "M_BAD_JSON")] {
        let answer = pair.speaks().request(Method::PUT, path("1")).body(body).await;
        assert_eq!(answer.error(), (400, errcode.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn only_the_homeserver_is_believed() {
    let pair = Pair::start().await;
    let body = json!({ "events": [message("$1", ALICE)] }).to_string();

    let nobody = pair.server.anonymous().request(Method::PUT, path("1")).body(body.clone()).await;
    let somebody = pair.server.anonymous().with_token("x").request(Method::PUT, path("1")).body(body).await;

    assert_eq!(nobody.error(), (401, "M_MISSING_TOKEN".to_owned()));
    assert_eq!(somebody.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(pair.server.metric("tintype_stream_events_total").await, 0);
}

#[tokio::test]
async fn the_path_without_a_prefix_is_the_same() {
    let pair = Pair::start().await;
    let body = json!({ "events": [message("$1", ALICE)] }).to_string();

    let answer = pair.speaks().request(Method::PUT, "/transactions/1").body(body).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(pair.sends("1", &[message("$1", ALICE)]).await.status(), 200);
    assert_eq!(pair.server.metric("tintype_stream_events_total").await, 1);
}

#[tokio::test]
async fn the_token_says_which_of_our_servers_is_told_whatever_the_host() {
    let (one, two) = (FakeHomeserver::start().await, FakeHomeserver::start().await);
    let state = json!([member("$m", "@alice:two.example", "join")]);
    two.answers(Method::GET, "/_matrix/client/v3/rooms/%21room%3Aexample.org/state", 200, &state);
    let server = TestServer::with(&format!(
        "[[server]]\nname = 'one.example'\nhomeserver = '{}'\nappservice_token = 'a1'\nhomeserver_token = 'h1'
         [[server]]\nname = 'two.example'\nhomeserver = '{}'\nappservice_token = 'a2'\nhomeserver_token = '{TOKEN}'",
        one.url(),
        two.url(),
    ))
    .await;
    let pair = Pair { homeserver: two, server };
    let body = json!({ "events": [message("$1", "@alice:two.example")] }).to_string();

    let client = pair.speaks().at_host("one.example");
    let answer = client.request(Method::PUT, path("1")).body(body).await;

    assert_eq!(answer.status(), 200);
    pair.knows_rooms(1).await;
}
