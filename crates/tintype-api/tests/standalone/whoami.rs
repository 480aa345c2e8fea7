//! `GET /_matrix/client/v3/account/whoami`

use serde_json::json;
use tintype_testing::TestServer;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test]
async fn a_token_is_somebodys() {
    let server = TestServer::start().await;
    let (alice, guest) = (server.user("alice").await, server.guest("visitor").await);

    let user = json!({ "user_id": "@alice:localhost", "device_id": "DEVICE", "is_guest": false });
    assert_eq!(alice.get(WHOAMI).await.json(), user);
    let visitor = json!({ "user_id": "@visitor:localhost", "device_id": "DEVICE", "is_guest": true });
    assert_eq!(guest.get(WHOAMI).await.json(), visitor);
}

#[tokio::test]
async fn a_token_that_is_nobodys_is_refused() {
    let server = TestServer::start().await;
    let stranger = server.anonymous().with_token("made_up");

    assert_eq!(stranger.get(WHOAMI).await.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(server.anonymous().get(WHOAMI).await.error(), (401, "M_MISSING_TOKEN".to_owned()));
}
