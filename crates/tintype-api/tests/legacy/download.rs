//! `GET /_matrix/media/{v3,r0,v1}/download/{serverName}/{mediaId}[/{fileName}]`

use std::time::Duration;

use tintype_testing::{START, TestServer, paths, pattern};

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

#[tokio::test]
async fn without_a_freeze_anybody_downloads_on_every_old_path() {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").content_type("text/plain").filename("a.txt").await;

    for version in ["v3", "r0", "v1"] {
        let path = paths::legacy_download(&mxc).replace("/v3/", &format!("/{version}/"));
        let answer = server.anonymous().get(path.as_str()).await;
        assert_eq!(answer.bytes(), "hello", "{version}");
        assert_eq!(answer.header("content-type"), "text/plain");
        assert_eq!(answer.header("content-disposition"), "inline; filename=\"a.txt\"");
        let named = server.anonymous().get(path + "/b.txt?allow_remote=false").await;
        assert_eq!(named.header("content-disposition"), "inline; filename=\"b.txt\"");
    }
}

#[tokio::test]
async fn the_old_path_is_as_careful_as_the_new_one() {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(pattern(200_000)).await;
    let path = paths::legacy_download(&mxc);

    let whole = server.anonymous().get(path.as_str()).await;
    let part = server.anonymous().get(path.as_str()).header("range", "bytes=5-9").await;
    let head = server.anonymous().head(path.as_str()).await;
    let same = server.anonymous().get(path.as_str()).header("if-none-match", whole.header("etag")).await;

    assert!(whole.header("content-security-policy").starts_with("sandbox;"));
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    assert_eq!((part.status(), part.bytes()[..].to_vec()), (206, pattern(10)[5..].to_vec()));
    assert_eq!((head.status(), head.content_length()), (200, 200_000));
    assert_eq!(same.status(), 304);
}

#[tokio::test]
async fn by_default_everything_since_the_first_start_is_frozen() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let frozen = server.anonymous().get(paths::legacy_download(&mxc)).await;

    assert_eq!(frozen.error(), not_found());
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_token_does_not_thaw() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    assert_eq!(alice.get(paths::legacy_download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn what_is_frozen_looks_like_what_never_was() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload("hello").await;

    let frozen = server.anonymous().get(paths::legacy_download(&mxc)).header("if-none-match", "*").await;
    let missing = server.anonymous().get("/_matrix/media/v3/download/localhost/missing").await;

    assert_eq!(frozen.bytes(), missing.bytes());
    assert_eq!(frozen.status(), missing.status());
}

#[tokio::test]
async fn a_freeze_at_a_time_hides_what_came_at_it_or_after() {
    let server = TestServer::with("legacy.freeze = '2026-01-02T00:00:00Z'").await;
    let alice = server.user("alice").await;
    let almost_a_day = Duration::from_millis(24 * 60 * 60 * 1000 - 1);
    assert_eq!((START + almost_a_day).as_millis(), 1_767_311_999_999);

    server.advance(almost_a_day);
    let before = alice.upload("before").await;
    server.advance(Duration::from_millis(1));
    let at = alice.upload("at").await;

    assert_eq!(server.anonymous().get(paths::legacy_download(&before)).await.bytes(), "before");
    assert_eq!(server.anonymous().get(paths::legacy_download(&at)).await.error(), not_found());
}

#[tokio::test]
async fn the_first_start_stays_the_first() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    server.advance(Duration::from_hours(1));
    let mxc = alice.upload("hello").await;
    server.advance(Duration::from_hours(1));

    let server = server.restart().await;

    assert_eq!(server.anonymous().get(paths::legacy_download(&mxc)).await.error(), not_found());
}

#[tokio::test]
async fn names_outside_the_grammar_are_not_found() {
    let server = TestServer::with("legacy.freeze = 'never'").await;

    for path in ["localhost/..", "../..", "localhost/%2e%2e%2ftintype.db", "localhost:+1/a", "localhost/a%00"] {
        let answer = server.anonymous().get(format!("/_matrix/media/v3/download/{path}")).await;
        assert_eq!(answer.error(), not_found(), "{path}");
    }
}
