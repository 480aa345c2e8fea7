//! What an interrupted upload has left is kept by one node, and gone on with through any.

use axum::{body::Body, http::StatusCode};
use tintype_testing::until;

use crate::nodes::{Nodes, upload};

const PARTIAL: &str = "application/partial-upload";

#[tokio::test(flavor = "multi_thread")]
async fn it_is_gone_on_with_through_another_node() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(1).await;
    let first = nodes.ask(0, "PUT", &upload(&id), &[("upload-complete", "?0")], Body::from("first ")).await;
    assert_eq!(first.status, StatusCode::CREATED);

    let offset = nodes.ask(1, "HEAD", &upload(&id), &[], Body::empty()).await;
    assert_eq!((offset.status, &offset.headers["upload-offset"]), (StatusCode::NO_CONTENT, &"6".parse().unwrap()));
    let headers = [("upload-complete", "?1"), ("upload-offset", "6"), ("content-type", PARTIAL)];
    let second = nodes.ask(1, "PATCH", &upload(&id), &headers, Body::from("second")).await;

    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    for node in [0, 1] {
        let media = nodes.get(node, &format!("/_matrix/client/v1/media/download/localhost/{id}")).await;
        assert_eq!(media.body, "first second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_given_up_through_another_node() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(1).await;
    nodes.ask(0, "PUT", &upload(&id), &[("upload-complete", "?0")], Body::from("first ")).await;

    let cancelled = nodes.ask(1, "DELETE", &upload(&id), &[], Body::empty()).await;

    assert!(cancelled.status.is_success(), "{cancelled:?}");
    for node in [0, 1] {
        let offset = nodes.ask(node, "HEAD", &upload(&id), &[], Body::empty()).await;
        assert_eq!(offset.headers["upload-offset"], "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_beginning_through_another_node_replaces_what_was_kept() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(1).await;
    nodes.ask(0, "PUT", &upload(&id), &[("upload-complete", "?0")], Body::from("first ")).await;

    let whole = nodes.ask(1, "PUT", &upload(&id), &[], Body::from("whole")).await;

    assert_eq!(whole.status, StatusCode::OK, "{whole:?}");
    let media = nodes.get(0, &format!("/_matrix/client/v1/media/download/localhost/{id}")).await;
    assert_eq!(media.body, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_under_way_at_another_node_is_taken_over() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(1).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[("upload-complete", "?1")]);
    sending.send("first ");
    let download = format!("/_matrix/client/v1/media/download/localhost/{id}?timeout_ms=0");
    until("it arrives", async || nodes.begin(0, "GET", &download, &[], Body::empty()).await.status() == StatusCode::OK)
        .await;

    let offset = nodes.ask(1, "HEAD", &upload(&id), &[], Body::empty()).await;

    assert_eq!((offset.status, &offset.headers["upload-offset"]), (StatusCode::NO_CONTENT, &"6".parse().unwrap()));
    assert_eq!(sending.finish().await, StatusCode::CONFLICT);
}
