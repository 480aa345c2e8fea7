//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
//!
//! How an upload is continued is tested in `tests/client/resumable.rs`, what downloads see of it while it arrives in
//! `tests/client/streaming.rs`.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tintype_domain::Mxc;
use tintype_testing::{Client, Response, Sending, TestServer, paths, pattern, until};

const MIB: usize = 1024 * 1024;

/// Up to here media lies beside its record; beyond, in a file.
const INLINE: usize = 64 * 1024;

/// When a reservation made at the start has just expired.
const EXPIRED: Duration = Duration::from_millis(24 * 60 * 60 * 1000 + 1);

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

fn cannot_overwrite() -> (u16, String) {
    (409, "M_CANNOT_OVERWRITE_MEDIA".to_owned())
}

/// A server and a reservation of one of its two users.
async fn reserved(config: &str) -> (TestServer, Client, Client, Mxc) {
    let server = TestServer::unlimited(config).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.create().await;
    (server, alice, bob, mxc)
}

/// Checks that nothing was kept, and that the creator can try again.
async fn is_free(server: &TestServer, creator: &Client, mxc: &Mxc) {
    server.holds_nothing().await;
    // That the sender is gone may be noticed later than here.
    until("the reservation is free", async || creator.put(mxc).body("again").await.status() == 200).await;
    assert_eq!(creator.get(paths::download(mxc)).await.bytes(), "again");
}

#[tokio::test]
async fn what_is_put_is_what_is_downloaded() {
    let (_server, alice, bob, mxc) = reserved("").await;

    let path = paths::put(&mxc) + "?filename=%E2%98%83.png";
    let answer = alice.request(Method::PUT, path).header("content-type", "image/png").body("hello").await;

    assert_eq!((answer.status(), answer.json()), (200, json!({})));
    let download = bob.get(paths::download(&mxc)).await;
    assert_eq!(download.bytes(), "hello");
    assert_eq!(download.header("content-type"), "image/png");
    assert_eq!(download.header("content-disposition"), "inline; filename*=utf-8''%E2%98%83.png");
}

#[tokio::test]
async fn without_a_content_type_it_is_an_octet_stream() {
    let (_server, alice, _, mxc) = reserved("").await;

    alice.put(&mxc).body("hello").await;

    assert_eq!(alice.get(paths::download(&mxc)).await.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn every_byte_comes_back_whatever_the_size() {
    let (server, alice, ..) = reserved("").await;

    for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 4 * INLINE - 1, 4 * INLINE, 4 * INLINE + 1, 5 * MIB] {
        let mxc = alice.create().await;
        assert_eq!(alice.put(&mxc).body(pattern(length)).await.status(), 200, "{length}");
        let download = alice.get(paths::download(&mxc)).await;
        assert!(*download.bytes() == pattern(length), "{length} bytes came back as {}", download.bytes().len());
        assert_eq!(download.content_length(), length);
    }
    assert_eq!(server.blobs().len(), 5);
}

#[tokio::test]
async fn a_chunked_body_is_as_good_as_one_that_says_its_length() {
    let (_server, alice, ..) = reserved("").await;

    for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 4 * INLINE - 1, 4 * INLINE, 4 * INLINE + 1, 5 * MIB] {
        let mxc = alice.create().await;
        let mut upload = alice.put(&mxc).feed_chunked().await;
        for piece in pattern(length).chunks(100_000) {
            upload.send(piece).await;
        }
        assert_eq!(upload.finish().await.status(), 200, "{length}");
        assert!(*alice.get(paths::download(&mxc)).await.bytes() == pattern(length), "{length}");
    }
}

#[tokio::test]
async fn every_version_of_the_path_takes_the_upload() {
    let (_server, alice, ..) = reserved("").await;

    for version in ["v3", "r0", "v1"] {
        let mxc = alice.create().await;
        let path = paths::put(&mxc).replace("v3", version);
        assert_eq!(alice.request(Method::PUT, path).body("hello").await.status(), 200, "{version}");
        assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    }
    let mxc = alice.create().await;
    assert_eq!(alice.request(Method::PUT, paths::unstable_put(&mxc)).body("hello").await.status(), 200);
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_second_upload_to_the_same_uri_is_refused() {
    let (_server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).body("first").await;

    let refusal = alice.put(&mxc).body("second").await;

    assert_eq!(refusal.error(), cannot_overwrite());
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "first");
}

#[tokio::test]
async fn an_ordinary_upload_cannot_be_overwritten_either() {
    let (_server, alice, bob, _) = reserved("").await;
    let mxc = alice.upload("first").await;

    assert_eq!(alice.put(&mxc).body("second").await.error(), cannot_overwrite());
    assert_eq!(bob.put(&mxc).body("second").await.error(), forbidden());
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "first");
}

#[tokio::test]
async fn what_is_stored_is_never_overwritten_however_long_it_is_there() {
    let (server, alice, _, mxc) = reserved("").await;
    alice.put(&mxc).body("first").await;
    server.advance(EXPIRED * 100);

    let server = server.restart().await;

    assert_eq!(alice.put(&mxc).body("second").await.error(), cannot_overwrite());
    assert_eq!(server.user("bob").await.get(paths::download(&mxc)).await.bytes(), "first");
}

#[tokio::test]
async fn the_unstable_path_has_the_unstable_error() {
    let (_server, alice, _, mxc) = reserved("").await;
    let unstable = || alice.request(Method::PUT, paths::unstable_put(&mxc)).body("second");
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;

    let while_it_arrives = unstable().await;
    upload.send("o").await;
    upload.finish().await;
    let afterwards = unstable().await;

    for refusal in [while_it_arrives, afterwards] {
        assert_eq!(refusal.error(), (409, "FI.MAU.MSC2246_CANNOT_OVERWRITE_MEDIA".to_owned()));
    }
}

#[tokio::test]
async fn a_refusal_comes_before_the_body() {
    let (server, alice, bob, mxc) = reserved("").await;
    let stored = alice.upload("first").await;

    for (user, mxc, expected) in [(&alice, &stored, cannot_overwrite()), (&bob, &mxc, forbidden())] {
        let upload = user.put(mxc).feed(10 * MIB).await;
        assert_eq!(upload.response().await.error(), expected);
    }
    server.holds_nothing().await;
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_listens_still_hears_the_refusal() {
    let (server, alice, ..) = reserved("").await;
    let stored = alice.upload("first").await;
    let mut connection = server.connect().await;

    // Much more than all buffers between the two hold.
    let body = pattern(40 * MIB);
    let (path, token, length) = (paths::put(&stored), alice.token(), body.len());
    connection.send(format!("PUT {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n")).await;
    connection.send(format!("Host: localhost\r\nContent-Length: {length}\r\n\r\n")).await;
    connection.send(&body).await;

    assert_eq!(connection.response().await.error(), cannot_overwrite());
}

#[tokio::test]
async fn only_the_creator_uploads() {
    let (_server, alice, bob, mxc) = reserved("").await;

    assert_eq!(bob.put(&mxc).body("bob's").await.error(), forbidden());
    let mut upload = alice.put(&mxc).feed(5).await;
    upload.send("hell").await;
    assert_eq!(bob.put(&mxc).body("bob's").await.error(), forbidden());
    upload.send("o").await;
    upload.finish().await;
    assert_eq!(bob.put(&mxc).body("bob's").await.error(), forbidden());

    assert_eq!(bob.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn the_creator_is_the_user_and_not_the_token() {
    let (server, _, _, mxc) = reserved("").await;

    let elsewhere = server.user("alice").await;

    assert_eq!(elsewhere.put(&mxc).body("hello").await.status(), 200);
}

#[tokio::test]
async fn what_was_never_reserved_is_not_found() {
    let (_server, alice, bob, mxc) = reserved("").await;
    let id = &mxc.media_id;

    for path in [
        "localhost/missing".to_owned(),
        format!("elsewhere.example/{id}"),
        format!("LOCALHOST/{id}"),
        format!("localhost:8448/{id}"),
        format!("localhost/{id}%00"),
        format!("localhost/{id}."),
        "localhost/%2e%2e".to_owned(),
        "localhost/%2e%2e%2f%2e%2e%2ftintype.db".to_owned(),
        format!("localhost/{}", "a".repeat(256)),
    ] {
        for user in [&alice, &bob] {
            let path = format!("/_matrix/media/v3/upload/{path}");
            let refusal = user.request(Method::PUT, path.as_str()).body("hello").await;
            assert_eq!(refusal.error(), not_found(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_reservation_can_be_used_until_it_expires() {
    let (server, alice, _, mxc) = reserved("").await;

    server.advance(EXPIRED.saturating_sub(Duration::from_millis(2)));

    assert_eq!(alice.put(&mxc).body("hello").await.status(), 200);
}

#[tokio::test]
async fn an_expired_reservation_is_not_found_by_anybody() {
    let (server, alice, bob, mxc) = reserved("").await;

    server.advance(EXPIRED);

    assert_eq!(alice.put(&mxc).body("hello").await.error(), not_found());
    assert_eq!(bob.put(&mxc).body("hello").await.error(), not_found());
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn an_expired_reservation_never_comes_back() {
    let (server, alice, _, mxc) = reserved("").await;
    server.advance(EXPIRED);
    // It is counted when it is swept.
    server.advance(Duration::from_mins(1));
    until("it is swept", async || server.metric("tintype_reservations_expired_total").await == 1).await;

    let _server = server.restart().await;

    assert_eq!(alice.put(&mxc).body("hello").await.error(), not_found());
    assert_eq!(alice.get(paths::download(&mxc)).await.error(), not_found());
}

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
async fn refusals_come_in_a_fixed_order() {
    let (server, alice, bob, mxc) = reserved("limits.max_upload_size = '1KiB'").await;
    let guest = server.guest("visitor").await;
    let own = paths::put(&mxc);
    let missing = "/_matrix/media/v3/upload/localhost/missing";
    let invalid = "/_matrix/media/v3/upload/localhost/a%00";
    let put = |user: &Client, path: String, length| {
        user.request(Method::PUT, path).header("content-type", "x".repeat(1025)).body(pattern(length))
    };

    let token = put(&server.anonymous().with_token("unknown"), format!("{invalid}?filename=%ff"), 2000).await;
    let path = put(&guest, format!("{invalid}?filename=%ff"), 2000).await;
    let query = put(&guest, format!("{missing}?filename=%ff"), 2000).await;
    let visitor = put(&guest, missing.to_owned(), 2000).await;
    let label = put(&bob, missing.to_owned(), 10).await;
    let length = bob.request(Method::PUT, missing).body(pattern(2000)).await;
    let reservation = bob.request(Method::PUT, own.as_str()).body(pattern(1000)).await;
    let nothing = alice.request(Method::PUT, own.as_str()).body(pattern(1000)).await;

    assert_eq!(token.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(path.error(), not_found());
    assert_eq!(query.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(visitor.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    assert_eq!(label.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(length.error(), (413, "M_TOO_LARGE".to_owned()));
    assert_eq!(reservation.error(), forbidden());
    assert_eq!(nothing.status(), 200);
}

#[tokio::test]
async fn labels_that_are_longer_than_any_real_one_are_refused_and_the_reservation_stays() {
    let (server, alice, _, mxc) = reserved("").await;

    let path = format!("{}?filename={}", paths::put(&mxc), "x".repeat(1025));
    let name = alice.request(Method::PUT, path).body("hello").await;
    let content_type = alice.put(&mxc).header("content-type", "x".repeat(1025)).body("hello").await;

    assert_eq!(name.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(content_type.error(), (400, "M_INVALID_PARAM".to_owned()));
    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn an_upload_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let (server, alice, _, mxc) = reserved("limits.max_upload_size = '100KiB'").await;

    let upload = alice.put(&mxc).feed(100 * 1024 + 1).await;

    assert_eq!(upload.response().await.error(), (413, "M_TOO_LARGE".to_owned()));
    is_free(&server, &alice, &mxc).await;
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
async fn an_upload_that_says_it_is_beyond_the_quota_is_refused_before_it_is_sent() {
    let (server, alice, _, mxc) = reserved("limits.max_user_bytes = '100KiB'").await;

    let upload = alice.put(&mxc).feed(100 * 1024 + 1).await;

    assert_eq!(upload.response().await.error(), forbidden());
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
async fn what_is_put_counts_for_the_quota_when_it_is_there() {
    let (_server, alice, _, mxc) = reserved("limits.max_user_media = 1").await;
    let second = alice.create().await;

    assert_eq!(alice.put(&mxc).body("first").await.status(), 200);

    assert_eq!(alice.put(&second).body("second").await.error(), forbidden());
    assert_eq!(alice.post(paths::UPLOAD).body("second").await.error(), forbidden());
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
async fn the_same_bytes_are_one_file_whichever_way_they_came() {
    let (server, alice, bob, mxc) = reserved("").await;

    bob.upload(pattern(MIB)).await;
    alice.put(&mxc).body(pattern(MIB)).await;

    assert_eq!(server.blobs().len(), 1);
    assert!(*bob.get(paths::download(&mxc)).await.bytes() == pattern(MIB));
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart() {
    let (server, alice, _, mxc) = reserved("").await;
    let large = alice.create().await;
    alice.put(&mxc).header("content-type", "text/plain").body("hello").await;
    alice.put(&large).body(pattern(MIB)).await;

    let _server = server.restart().await;

    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(alice.get(paths::download(&mxc)).await.header("content-type"), "text/plain");
    assert!(*alice.get(paths::download(&large)).await.bytes() == pattern(MIB));
}

#[tokio::test]
async fn an_upload_that_the_end_of_the_server_cuts_can_be_tried_again() {
    let (server, alice, _, mxc) = reserved("http.drain_timeout = '50ms'").await;
    let mut upload = alice.put(&mxc).feed(2 * MIB).await;
    upload.send(pattern(MIB)).await;

    let server = server.restart().await;

    is_free(&server, &alice, &mxc).await;
}

#[tokio::test]
async fn a_plain_upload_hears_nothing_of_resumable_ones() {
    let (_server, alice, _, mxc) = reserved("").await;

    let answer = alice.put(&mxc).body("hello").await;

    for name in ["upload-complete", "upload-offset", "upload-limit", "location"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn nobody_uploads_without_a_token() {
    let (server, _, _, mxc) = reserved("").await;

    for path in [paths::put(&mxc), paths::unstable_put(&mxc)] {
        let refusal = server.anonymous().request(Method::PUT, path).body(pattern(MIB)).await;
        assert_eq!(refusal.error(), (401, "M_MISSING_TOKEN".to_owned()));
    }
    server.holds_nothing().await;
}
