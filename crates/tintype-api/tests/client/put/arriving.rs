//! Uploads that are under way: what becomes of them, and of others to the same URI.

use std::time::Duration;

use tintype_testing::{Response, Sending, paths, pattern, until};

use super::{EXPIRED, MIB, cannot_overwrite, forbidden, is_free, not_found, reserved};

#[tokio::test]
async fn an_upload_that_is_under_way_when_its_reservation_expires_may_finish() {
    let (server, alice, bob, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;

    server.advance(EXPIRED);
    server.advance(Duration::from_mins(2));
    upload.send("o").await;

    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(alice.put(&mxc).body("again").await.error(), cannot_overwrite());
}

#[tokio::test]
async fn an_upload_that_breaks_off_after_its_reservation_expired_cannot_be_tried_again() {
    let (server, alice, _, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;
    server.advance(EXPIRED);

    upload.break_off();

    until("it is expired", async || alice.put(&mxc).body("again").await.error() == not_found()).await;
}

#[tokio::test]
async fn an_upload_that_turns_out_too_large_is_refused_while_it_arrives() {
    let (server, alice, _, mxc) = reserved("limits.max_upload_size = '100KiB'").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;

    upload.send(pattern(100 * 1024 + 1)).await;

    assert_eq!(upload.response().await.error(), (413, "M_TOO_LARGE".to_owned()));
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn an_upload_that_turns_out_beyond_the_quota_leaves_nothing() {
    let (server, alice, _, mxc) = reserved("limits.max_user_bytes = '100KiB'").await;
    let mut upload = alice.put(&mxc).feed_chunked().await;

    upload.send(pattern(100 * 1024 + 1)).await;

    assert_eq!(upload.finish().await.error(), forbidden());
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn a_broken_body_is_refused() {
    let (server, alice, _, mxc) = reserved("").await;
    let mut connection = server.connect().await;
    let (path, token) = (paths::put(&mxc), alice.token());

    connection.send(format!("PUT {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nHost: localhost\r\n")).await;
    connection.send("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nthis is no chunk\r\n").await;

    assert_eq!(connection.response().await.error().0, 400);
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn a_sender_that_breaks_off_leaves_nothing_and_can_try_again() {
    for length in [1000, 3 * MIB] {
        let (server, alice, _, mxc) = reserved("").await;
        let mut known = alice.put(&mxc).feed(2 * length).await;
        known.send(pattern(length)).await;
        known.break_off();
        is_free(&server, &alice, &mxc).await;

        let mxc = alice.create().await;
        let mut chunked = alice.put(&mxc).feed_chunked().await;
        chunked.send(pattern(length)).await;
        chunked.break_off();
        is_free(&server, &alice, &mxc).await;
    }
}

#[tokio::test]
async fn an_upload_that_stops_arriving_is_given_up_and_can_be_tried_again() {
    let (server, alice, _, mxc) = reserved("http.body_idle_timeout = '100ms'").await;
    let mut upload = alice.put(&mxc).feed(2 * MIB).await;

    upload.send(pattern(MIB)).await;

    assert_eq!(upload.response().await.error(), (408, "M_UNKNOWN".to_owned()));
    is_free(&server, &alice, &mxc).await;
}

fn says_that_another_upload_is_arriving(refusal: &Response) {
    assert_eq!(refusal.error(), cannot_overwrite());
    assert_eq!(refusal.header("retry-after"), "5");
    let text = refusal.json()["error"].as_str().expect("there is a text").to_owned();
    assert!(text.contains("still arriving"), "{text}");
}

#[tokio::test]
async fn while_one_upload_arrives_another_is_told_so_and_changes_nothing() {
    let (_server, alice, _, mxc) = reserved("").await;
    let mut first = alice.put(&mxc).feed(5).await;

    says_that_another_upload_is_arriving(&alice.put(&mxc).body("other").await);
    first.send("hell").await;
    says_that_another_upload_is_arriving(&alice.put(&mxc).body("other").await);
    first.send("o").await;

    assert_eq!(first.finish().await.status(), 200);
    let stored = alice.put(&mxc).body("other").await;
    assert_eq!((stored.error(), stored.header("retry-after")), (cannot_overwrite(), ""));
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_refused_upload_leaves_the_one_that_arrives_alone() {
    let (_server, alice, bob, mxc) = reserved("http.body_idle_timeout = '60s'").await;
    let mut first = alice.put(&mxc).feed(MIB).await;
    first.send(pattern(MIB / 2)).await;

    // Refused for all kinds of reasons, with bodies sent and with connections that go away.
    let mut others: Vec<Sending> = Vec::new();
    for user in [&alice, &bob] {
        others.push(user.put(&mxc).feed(10).await);
        others.push(user.put(&mxc).feed_chunked().await);
        user.put(&mxc).body(pattern(2 * MIB)).await;
    }
    drop(others);
    first.send(&pattern(MIB)[MIB / 2..]).await;

    assert_eq!(first.finish().await.status(), 200);
    assert!(*bob.get(paths::download(&mxc)).await.bytes() == pattern(MIB));
}

#[tokio::test]
async fn an_upload_that_the_end_of_the_server_cuts_can_be_tried_again() {
    let (server, alice, _, mxc) = reserved("http.drain_timeout = '50ms'").await;
    let mut upload = alice.put(&mxc).feed(2 * MIB).await;
    upload.send(pattern(MIB)).await;

    let server = server.restart().await;

    is_free(&server, &alice, &mxc).await;
}
