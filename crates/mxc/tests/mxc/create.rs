//! `mxc create`

use serde_json::json;
use tintype_client::Mxc;
use tintype_testing::START;

use crate::{program::Program, server::Server};

#[tokio::test]
async fn a_uri_is_printed_alone() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;

    let mxc: Mxc = program.run(&["create"]).await.line().parse().unwrap();

    server.client("alice").await.put(&mxc, "its content").await.unwrap();
}

#[tokio::test]
async fn scripts_learn_when_it_expires() {
    let server = Server::with("limits.unused_expires_after = '1h'").await;
    let program = Program::of(&server, "alice").await;

    let object = program.run(&["create", "--json"]).await.object();

    assert!(object["content_uri"].as_str().unwrap().parse::<Mxc>().is_ok());
    assert_eq!(object["unused_expires_at"], json!(START.as_millis() + 3_600_000));
}
