//! `GET /_matrix/key/v2/server`

use serde_json::Value;
use tintype_testing::{START, TestServer};

const KEY: &str = "/_matrix/key/v2/server";

async fn document(server: &TestServer) -> Value {
    server.anonymous().get(KEY).await.json()
}

#[tokio::test]
async fn the_key_is_published_and_signs_its_own_document() {
    let server = TestServer::start().await;

    let document = document(&server).await;

    assert_eq!(document["server_name"], "localhost");
    assert!(document["valid_until_ts"].as_i64().unwrap() > START.as_millis());
    assert!(document["old_verify_keys"].is_object());
    let keys = document["verify_keys"].as_object().unwrap();
    let signatures = document["signatures"]["localhost"].as_object().unwrap();
    assert!(keys.keys().all(|id| id.starts_with("ed25519:")) && keys.len() == 1, "{document}");
    assert_eq!(keys.keys().collect::<Vec<_>>(), signatures.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn the_key_stays_the_same() {
    let server = TestServer::start().await;
    let before = document(&server).await;

    let server = server.restart().await;

    assert_eq!(document(&server).await["verify_keys"], before["verify_keys"]);
}

#[tokio::test]
async fn the_old_path_with_a_key_id_answers_too() {
    let server = TestServer::start().await;

    let answer = server.anonymous().get(format!("{KEY}/ed25519:auto")).await;

    assert_eq!(answer.json(), document(&server).await);
}
