//! `GET /_matrix/client/v1/media/config`

use tintype_testing::{TestServer, paths};

#[tokio::test]
async fn a_user_is_told_the_largest_upload_in_bytes() {
    let server = TestServer::with("limits.max_upload_size = '3MiB'").await;
    let alice = server.user("alice").await;

    let config = alice.get(paths::CONFIG).await;

    assert_eq!(config.status(), 200);
    assert_eq!(config.json()["m.upload.size"], 3 * 1024 * 1024);
}

#[tokio::test]
async fn the_old_paths_answer_too_and_ask_for_a_token_like_the_new_one() {
    let server = TestServer::with("limits.max_upload_size = '3MiB'").await;
    let alice = server.user("alice").await;

    for path in ["/_matrix/media/v3/config", "/_matrix/media/r0/config", "/_matrix/media/v1/config"] {
        assert_eq!(alice.get(path).await.json()["m.upload.size"], 3 * 1024 * 1024, "{path}");
        assert_eq!(server.anonymous().get(path).await.error(), (401, "M_MISSING_TOKEN".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_guest_who_may_not_upload_is_not_told_how_much() {
    let server = TestServer::start().await;
    let guest = server.guest("visitor").await;

    let config = guest.get(paths::CONFIG).await;

    assert_eq!(config.error(), (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
}
