//! Whoever waits at one node is woken by what happens at another.

use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt as _;
use tintype_testing::until;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::nodes::{Nodes, TOKEN, download, upload};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_another_node_wakes_who_waits() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let waits = nodes.asking(1, &download(&id));
    until("it waits", async || nodes.all[1].metric("downloads_waiting") == 1).await;

    let put = nodes.ask(0, "PUT", &upload(&id), &[], Body::from("whole")).await;

    assert_eq!(put.status, StatusCode::OK);
    let answer = waits.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_an_upload_to_another_node_wakes_who_waits_and_is_streamed() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let waits = nodes.asking(1, &download(&id));
    until("it waits", async || nodes.all[1].metric("downloads_waiting") == 1).await;

    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");

    let mut body = waits.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first ");
    sending.send("second");
    assert_eq!(sending.finish().await, StatusCode::OK);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_waits_for_the_whole_of_what_arrives_at_another_node() {
    let nodes = Nodes::start(2).await;
    let id = nodes.reserve(0).await;
    let sending = nodes.sending(0, "PUT", &upload(&id), &[]);
    sending.send("first ");
    nodes.arrives(0, &id).await;
    let mut stream = TcpStream::connect(nodes.all[1].public).await.unwrap();
    let request = format!("GET {} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n", download(&id));
    stream.write_all(request.as_bytes()).await.unwrap();
    until("it waits", async || nodes.all[1].metric("downloads_waiting") == 1).await;

    sending.send("second");
    assert_eq!(sending.finish().await, StatusCode::OK);

    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.to_lowercase().contains("\r\ncontent-length: 12\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nfirst second"), "{answer}");
    assert_eq!(nodes.all[0].metric("http_relayed_in_total"), 0);
}
