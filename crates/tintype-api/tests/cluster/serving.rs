//! Other servers read from any node what arrives at one.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tintype_domain::{Clock as _, ServerName, SystemClock};
use tintype_testing::{Peer, Script};

use crate::nodes::{Nodes, upload};

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_at_one_node_is_streamed_to_another_server_from_another() {
    let (nodes, peer) = (Nodes::start(2).await, Peer::start("theirs").await);
    // The nodes have the time of the machine.
    let tomorrow = SystemClock.now() + std::time::Duration::from_hours(24);
    peer.publishes(Script::json(200, &peer.key_document(tomorrow)));
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[("content-type", "text/plain")]);
    sending.send("first ");
    nodes.arrives(0, &id).await;

    let target = format!("/_matrix/federation/v1/media/download/{id}?timeout_ms=20000");
    let name = ServerName::parse("localhost").unwrap();
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("http://{}{target}", nodes.all[1].public))
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, peer.authorization(&name, &target))
        .body(Body::empty());
    let answer = Client::builder(TokioExecutor::new()).build_http().request(request.unwrap()).await.unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    let content_type = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let boundary = content_type.strip_prefix("multipart/mixed; boundary=").unwrap().trim_matches('"').to_owned();
    let mut body = answer.into_body();
    let mut read = Vec::new();
    while !read.ends_with(b"first ") {
        read.extend(body.frame().await.unwrap().unwrap().into_data().unwrap_or_default());
    }
    sending.send("second");
    assert_eq!(sending.finish().await, StatusCode::OK);
    read.extend(body.collect().await.unwrap().to_bytes());
    let read = String::from_utf8(read).unwrap();
    let parts = read.split(&format!("--{boundary}")).collect::<Vec<_>>();
    assert_eq!((parts.len(), parts[3].trim_end()), (4, "--"), "{read}");
    assert!(parts[2].ends_with("\r\n\r\nfirst second\r\n"), "{read}");
    assert_eq!(nodes.all[0].metric("http_relayed_in_total"), 1);
}
