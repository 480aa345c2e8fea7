//! `GET /.well-known/matrix/server`

use tintype_testing::TestServer;

#[tokio::test]
async fn a_name_without_a_port_is_served_where_its_document_is() {
    let server = TestServer::with("[[server]]\nname = 'example.org'").await;

    let document = server.anonymous().get("/.well-known/matrix/server").await;

    assert_eq!(document.json()["m.server"], "example.org:443");
}

#[tokio::test]
async fn a_name_with_a_port_is_served_at_its_port() {
    let server = TestServer::with("[[server]]\nname = 'example.org:8448'").await;

    let document = server.anonymous().get("/.well-known/matrix/server").await;

    assert_eq!(document.json()["m.server"], "example.org:8448");
}
