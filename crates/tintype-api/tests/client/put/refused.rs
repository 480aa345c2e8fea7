//! Who may not upload to which URI, and how they hear of it.

use std::time::Duration;

use http::Method;
use tintype_testing::{Client, paths, pattern, until};

use super::{EXPIRED, MIB, cannot_overwrite, forbidden, is_free, not_found, reserved};

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
async fn an_upload_that_says_it_is_beyond_the_quota_is_refused_before_it_is_sent() {
    let (server, alice, _, mxc) = reserved("limits.max_user_bytes = '100KiB'").await;

    let upload = alice.put(&mxc).feed(100 * 1024 + 1).await;

    assert_eq!(upload.response().await.error(), forbidden());
    is_free(&server, &alice, &mxc).await;
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
