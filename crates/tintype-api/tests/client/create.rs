//! `POST /_matrix/media/v1/create`

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, Response, START, TestServer, paths, until};

const DAY: Duration = Duration::from_hours(24);

/// What the answer says about the time until which the URI can be used.
fn unused_expires_at(answer: &Response) -> i64 {
    answer.json()["unused_expires_at"].as_i64().expect("the reservation ends at some time")
}

async fn reserve(user: &Client, count: usize) -> Vec<Mxc> {
    let mut reserved = Vec::new();
    for _ in 0..count {
        reserved.push(user.create().await);
    }
    reserved
}

/// One more than may be pending.
fn is_one_too_many(refusal: &Response, limit: u32) {
    assert_eq!(refusal.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    let wait = refusal.header("retry-after").parse::<u32>();
    assert!(wait.as_ref().is_ok_and(|seconds| (1..=60).contains(seconds)), "{wait:?}");
    let text = refusal.json()["error"].as_str().expect("there is a text").to_owned();
    assert!(text.contains(&limit.to_string()), "{text} does not name the limit");
}

#[tokio::test]
async fn a_uri_is_given_before_there_is_content() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let answer = alice.post(paths::CREATE).await;

    assert_eq!(answer.mxc().server_name, "localhost");
    assert_eq!(unused_expires_at(&answer), (START + DAY).as_millis());
    assert_eq!(answer.json().as_object().expect("it is an object").len(), 2);
}

#[tokio::test]
async fn each_reservation_is_a_uri_of_its_own() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    assert_ne!(alice.create().await, alice.create().await);
}

#[tokio::test]
async fn the_operator_decides_how_long_a_reservation_waits() {
    let server = TestServer::with("limits.unused_expires_after = '90s'").await;
    let alice = server.user("alice").await;
    server.advance(Duration::from_secs(5));

    let answer = alice.post(paths::CREATE).await;

    assert_eq!(unused_expires_at(&answer), (START + Duration::from_secs(95)).as_millis());
}

#[tokio::test]
async fn a_reservation_that_never_expires_names_no_time() {
    let server = TestServer::with("limits.unused_expires_after = 'never'").await;
    let alice = server.user("alice").await;

    let answer = alice.post(paths::CREATE).await;
    server.advance(1000 * DAY);

    assert!(answer.json().get("unused_expires_at").is_none());
    assert_eq!(alice.put(&answer.mxc()).body("hello").await.status(), 200);
}

#[tokio::test]
async fn nothing_in_the_body_changes_anything() {
    let server = TestServer::unlimited("").await;
    let alice = server.user("alice").await;

    for body in ["", "{}", " {\n} ", r#"{"unused_expires_at": 1, "content_uri": 7, "nested": {"a": [null]}}"#] {
        let answer = alice.post(paths::CREATE).body(body).await;
        assert_eq!(answer.status(), 200, "{body}");
        assert_eq!(unused_expires_at(&answer), (START + DAY).as_millis());
    }
    let untyped = alice.post(paths::CREATE).header("content-type", "text/plain").body("{}").await;
    assert_eq!(untyped.status(), 200);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for body in [&b"nope"[..], b"{", b"{} {}", b"{\"a\": \xff}", b"\x00"] {
        let refusal = alice.post(paths::CREATE).body(body).await;
        assert_eq!(refusal.error(), (400, "M_NOT_JSON".to_owned()), "{}", body.escape_ascii());
    }
    let nested = alice.post(paths::CREATE).body("[".repeat(60_000)).await;
    assert_eq!(nested.status(), 400);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for body in ["[]", "[{}]", "null", "true", "7", "\"{}\""] {
        let refusal = alice.post(paths::CREATE).body(body).await;
        assert_eq!(refusal.error(), (400, "M_BAD_JSON".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_body_that_is_longer_than_any_real_one_is_refused() {
    let server = TestServer::unlimited("").await;
    let alice = server.user("alice").await;
    let object = |length: usize| format!("{{{}}}", " ".repeat(length - 2));

    assert_eq!(alice.post(paths::CREATE).body(object(64 * 1024)).await.status(), 200);
    let refusal = alice.post(paths::CREATE).body(object(64 * 1024 + 1)).await;
    assert_eq!(refusal.error(), (413, "M_TOO_LARGE".to_owned()));
    let mut chunked = alice.post(paths::CREATE).feed_chunked().await;
    chunked.send(object(64 * 1024 + 1)).await;
    assert_eq!(chunked.response().await.error(), (413, "M_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_refused_body_reserves_nothing() {
    let server = TestServer::with("limits.max_pending_uploads = 1").await;
    let alice = server.user("alice").await;

    for body in ["nope".to_owned(), "[]".to_owned(), " ".repeat(65 * 1024)] {
        assert_ne!(alice.post(paths::CREATE).body(body).await.status(), 200);
    }

    assert_eq!(alice.post(paths::CREATE).await.status(), 200);
}

#[tokio::test]
async fn nobody_reserves_without_a_token() {
    let server = TestServer::start().await;

    for path in [paths::CREATE, paths::UNSTABLE_CREATE] {
        let refusal = server.anonymous().post(path).body("nope").await;
        assert_eq!(refusal.error(), (401, "M_MISSING_TOKEN".to_owned()));
    }
}

#[tokio::test]
async fn guests_do_not_reserve() {
    let server = TestServer::start().await;
    let guest = server.guest("visitor").await;

    assert_eq!(guest.post(paths::CREATE).await.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
}

#[tokio::test]
async fn the_unstable_path_reserves_too() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let mxc = alice.post(paths::UNSTABLE_CREATE).body("{}").await.mxc();

    assert_eq!(alice.put(&mxc).body("hello").await.status(), 200);
    assert_eq!(alice.get(paths::UNSTABLE_CREATE).await.error(), (405, "M_UNRECOGNIZED".to_owned()));
}

#[tokio::test]
async fn only_so_many_reservations_may_be_pending() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    reserve(&alice, 5).await;

    let refusal = alice.post(paths::CREATE).await;

    is_one_too_many(&refusal, 5);
    reserve(&bob, 5).await;
}

#[tokio::test]
async fn one_user_has_one_limit_with_any_token() {
    let server = TestServer::with("limits.max_pending_uploads = 2").await;
    let tokens = [server.user("alice").await, server.user("alice").await, server.user("alice").await];
    tokens[0].create().await;
    tokens[1].create().await;

    is_one_too_many(&tokens[2].post(paths::CREATE).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_get_past_the_limit_together() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let requests: Vec<_> = (0..50).map(|_| tokio::spawn(alice.post(paths::CREATE).into_future())).collect();

    let mut reserved = 0;
    for request in requests {
        let answer = request.await.expect("there is an answer");
        match answer.status() {
            200 => reserved += 1,
            _ => is_one_too_many(&answer, 5),
        }
    }
    assert_eq!(reserved, 5);
}

#[tokio::test]
async fn what_is_stored_no_longer_counts() {
    let server = TestServer::with("limits.max_pending_uploads = 2").await;
    let alice = server.user("alice").await;
    let reserved = reserve(&alice, 2).await;

    assert_eq!(alice.put(&reserved[0]).body("hello").await.status(), 200);

    alice.create().await;
    is_one_too_many(&alice.post(paths::CREATE).await, 2);
}

#[tokio::test]
async fn what_is_expired_no_longer_counts() {
    let server = TestServer::with("limits.max_pending_uploads = 2").await;
    let alice = server.user("alice").await;
    reserve(&alice, 2).await;

    server.advance(DAY + Duration::from_millis(1));

    reserve(&alice, 2).await;
    is_one_too_many(&alice.post(paths::CREATE).await, 2);
}

#[tokio::test]
async fn what_is_expired_does_not_count_even_before_it_is_swept() {
    let server = TestServer::with("limits.max_pending_uploads = 2").await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    reserve(&bob, 1).await;
    server.advance(Duration::from_secs(30));
    reserve(&alice, 2).await;
    // Bob's expires and is swept; the next sweep comes a minute later, after alice's have expired.
    server.advance(DAY.saturating_sub(Duration::from_secs(30)));
    until("bob's is swept", async || server.metric("tintype_reservations_expired_total").await == 1).await;

    server.advance(Duration::from_secs(30));

    reserve(&alice, 2).await;
    is_one_too_many(&alice.post(paths::CREATE).await, 2);
}

#[tokio::test]
async fn what_is_arriving_counts_until_it_is_there() {
    let server = TestServer::with("limits.max_pending_uploads = 1").await;
    let alice = server.user("alice").await;
    let mxc = alice.create().await;
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;

    is_one_too_many(&alice.post(paths::CREATE).await, 1);

    upload.send("o").await;
    assert_eq!(upload.finish().await.status(), 200);
    alice.create().await;
}

#[tokio::test]
async fn an_ordinary_upload_is_never_pending() {
    let server = TestServer::with("limits.max_pending_uploads = 1").await;
    let alice = server.user("alice").await;
    alice.create().await;

    alice.upload("hello").await;
    is_one_too_many(&alice.post(paths::CREATE).await, 1);
}

#[tokio::test]
async fn with_a_limit_of_none_nothing_is_reserved() {
    let server = TestServer::with("limits.max_pending_uploads = 0").await;
    let alice = server.user("alice").await;

    assert_eq!(alice.post(paths::CREATE).await.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
}

#[tokio::test]
async fn reservations_outlive_a_restart() {
    let server = TestServer::with("limits.max_pending_uploads = 2").await;
    let alice = server.user("alice").await;
    let reserved = reserve(&alice, 2).await;

    let _server = server.restart().await;

    is_one_too_many(&alice.post(paths::CREATE).await, 2);
    assert_eq!(alice.put(&reserved[1]).body("hello").await.status(), 200);
    assert_eq!(alice.get(paths::download(&reserved[1])).await.bytes(), "hello");
}
