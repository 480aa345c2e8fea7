//! An upload that arrives at one node is read at another.

use axum::{
    body::Body,
    http::{StatusCode, header},
};
use http_body_util::BodyExt as _;
use tintype_testing::until;

use crate::nodes::{Nodes, download, upload};

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_at_one_node_is_streamed_from_another() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[("content-type", "text/plain")]);
    sending.send("first ");
    nodes.arrives(0, &id).await;

    let answer = nodes.begin(1, "GET", &download(&id), &[], Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    assert!(!answer.headers().contains_key("tintype-relay-verdict"));
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first ");
    sending.send("second");
    assert_eq!(sending.finish().await, StatusCode::OK);

    assert_eq!(body.collect().await.unwrap().to_bytes(), "second");
    assert_eq!(nodes.all[0].metric("http_relayed_in_total"), 1);
    until("it is counted", async || nodes.all[1].metric("http_relayed_out_total{outcome=\"answered\"}") == 1).await;
    assert_eq!(nodes.get(1, &download(&id)).await.body, "first second");
    assert_eq!(nodes.all[0].metric("http_relayed_in_total"), 1, "what is stored is read where it is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_heads_and_conditions_are_answered_as_on_one_node() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[("content-length", "10")]);
    sending.send("01234");
    nodes.arrives(0, &id).await;

    for node in [0, 1] {
        let head = nodes.ask(node, "HEAD", &download(&id), &[], Body::empty()).await;
        assert_eq!((head.status, &head.headers[header::CONTENT_LENGTH]), (StatusCode::OK, &"10".parse().unwrap()));
        let part = nodes.ask(node, "GET", &download(&id), &[("range", "bytes=1-3")], Body::empty()).await;
        assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &b"123"[..]));
        assert_eq!(part.headers[header::CONTENT_RANGE], "bytes 1-3/10");
        let tag = head.headers[header::ETAG].to_str().unwrap();
        let known = nodes.ask(node, "GET", &download(&id), &[("if-none-match", tag)], Body::empty()).await;
        assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    }

    sending.send("56789");
    assert_eq!(sending.finish().await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_breaks_off_aborts_who_reads_at_another_node() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;
    let mut body = nodes.begin(1, "GET", &download(&id), &[], Body::empty()).await.into_body();
    body.frame().await.unwrap().unwrap();

    sending.break_off();

    body.collect().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_upload_to_another_node_is_refused_as_on_one() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;

    let second = nodes.ask(1, "PUT", &upload(&id), &[], Body::from("second")).await;

    assert_eq!(second.status, StatusCode::CONFLICT);
    assert!(second.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(sending.finish().await, StatusCode::OK);
    let third = nodes.ask(1, "PUT", &upload(&id), &[], Body::from("third")).await;
    assert_eq!(third.status, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_reached_means_not_yet_uploaded() {
    let mut nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;

    nodes.all[0].cut_from_nodes().await;

    let answer = nodes.get(1, &format!("{}?timeout_ms=300", download(&id))).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(nodes.all[1].metric("http_relayed_out_total{outcome=\"unreachable\"}") > 0);
    assert_eq!(sending.finish().await, StatusCode::OK);
    assert_eq!(nodes.get(1, &download(&id)).await.body, "first ", "what is stored is had without that node");
}
