//! What a homeserver would answer, for servers that have none.

mod key_server;
mod versions;
mod well_known;
mod whoami;

use tintype_testing::{FakeHomeserver, TestServer};

#[tokio::test]
async fn beside_a_homeserver_these_paths_are_the_homeservers() {
    let homeserver = FakeHomeserver::start().await;
    let server = TestServer::with(&homeserver.config()).await;
    homeserver.log_in("alice", "a_token");
    let alice = server.anonymous().with_token("a_token");

    for path in [
        "/_matrix/key/v2/server",
        "/_matrix/federation/v1/version",
        "/_matrix/client/v3/account/whoami",
        "/.well-known/matrix/server",
    ] {
        assert_eq!(alice.get(path).await.error(), (404, "M_UNRECOGNIZED".to_owned()), "{path}");
    }
}
