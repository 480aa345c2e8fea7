//! A node that is killed in the middle of an upload: who reads is cut, and who sends can send again through any other.

use axum::{
    body::Body,
    http::{StatusCode, header},
};
use http_body_util::BodyExt as _;
use tintype_testing::until;

use crate::nodes::{Nodes, download, upload};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_killed_node_received_is_sent_again_to_another() {
    let mut nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;
    let mut body = nodes.begin(1, "GET", &download(&id), &[], Body::empty()).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first ");

    nodes.all[0].kill();

    body.collect().await.unwrap_err();
    sending.fails().await;
    // While it is not sure that it is gone, it has the upload.
    let refused = nodes.ask(1, "PUT", &upload(&id), &[], Body::from("again")).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.headers.contains_key(header::RETRY_AFTER));
    until("another node has what it had", async || {
        nodes.ask(1, "PUT", &upload(&id), &[], Body::from("again")).await.status == StatusCode::OK
    })
    .await;
    assert_eq!(nodes.get(1, &download(&id)).await.body, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_kept_of_an_upload_is_lost_and_it_begins_anew_elsewhere() {
    let mut nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let first = nodes.ask(0, "PUT", &upload(&id), &[("upload-complete", "?0")], Body::from("first ")).await;
    assert_eq!(first.status, StatusCode::CREATED);

    nodes.all[0].kill();

    let unsure = nodes.ask(1, "HEAD", &upload(&id), &[], Body::empty()).await;
    assert_eq!(unsure.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(unsure.headers.contains_key(header::RETRY_AFTER));
    until("it is sure", async || {
        let offset = nodes.ask(1, "HEAD", &upload(&id), &[], Body::empty()).await;
        offset.status == StatusCode::NO_CONTENT && offset.headers["upload-offset"] == "0"
    })
    .await;
    let anew = nodes.ask(1, "PUT", &upload(&id), &[("upload-complete", "?1")], Body::from("anew")).await;
    assert_eq!(anew.status, StatusCode::OK, "{anew:?}");
    assert_eq!(nodes.get(1, &download(&id)).await.body, "anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_handed_to_a_node_that_is_killed_is_refused_for_a_moment() {
    let mut nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    nodes.ask(0, "PUT", &upload(&id), &[("upload-complete", "?0")], Body::from("first ")).await;
    let headers = [("upload-complete", "?1"), ("upload-offset", "6"), ("content-type", "application/partial-upload")];
    let sending = nodes.sending(1, "PATCH", &upload(&id), &headers);
    sending.send("second");
    until("it was handed on", async || nodes.all[0].metric("http_relayed_in_total") == 1).await;

    nodes.all[0].kill();

    assert_eq!(sending.finish().await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_a_killed_node_received_is_answered_when_it_comes_again() {
    let mut nodes = Nodes::start(3).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;
    nodes.all[0].kill();
    sending.fails().await;
    let waits = nodes.asking(1, &format!("{}?timeout_ms=60000", download(&id)));

    until("another node has what it had", async || {
        nodes.ask(2, "PUT", &upload(&id), &[], Body::from("again")).await.status == StatusCode::OK
    })
    .await;

    let answer = waits.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "again");
}
