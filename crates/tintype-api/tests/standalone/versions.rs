//! `GET /_matrix/client/versions` and `GET /_matrix/federation/v1/version`

use tintype_testing::TestServer;

#[tokio::test]
async fn clients_learn_that_media_is_authenticated_here() {
    let server = TestServer::start().await;

    let answer = server.anonymous().get("/_matrix/client/versions").await;

    let versions = answer.json()["versions"].as_array().unwrap().clone();
    assert!(versions.iter().any(|version| version == "v1.11"), "{versions:?}");
    assert_eq!(answer.json()["unstable_features"]["org.matrix.msc3916.stable"], true);
}

#[tokio::test]
async fn clients_learn_that_uploads_may_come_later_and_be_resumed() {
    let server = TestServer::start().await;

    let answer = server.anonymous().get("/_matrix/client/versions").await;

    let features = &answer.json()["unstable_features"];
    assert_eq!(features["fi.mau.msc2246"], true);
    assert_eq!(features["io.github.tintype.resumable_uploads"], true);
}

#[tokio::test]
async fn servers_learn_what_runs_here() {
    let server = TestServer::start().await;

    let answer = server.anonymous().get("/_matrix/federation/v1/version").await;

    assert_eq!(answer.json()["server"]["name"], "Tintype");
    assert_eq!(answer.json()["server"]["version"], env!("CARGO_PKG_VERSION"));
}
