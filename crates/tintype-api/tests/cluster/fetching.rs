//! Media of another server is fetched once, wherever it is asked for, and by another node if the one that fetches is gone.

use std::sync::Arc;

use axum::{body::Body, http::StatusCode};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use tintype_testing::{Peer, Script, pictures};

use crate::{node::rules, nodes::Nodes};

const DOWNLOAD: &str = "/_matrix/federation/v1/media/download/";
const THUMBNAIL: &str = "/_matrix/federation/v1/media/thumbnail/";

/// The head of an answer in two parts, and what is in it before the media's type.
const MIXED: &str = "Content-Type: multipart/mixed; boundary=bound\r\n";
const FIRST: &str = "--bound\r\nContent-Type: application/json\r\n\r\n{}\r\n--bound\r\nContent-Type: ";
const LAST: &str = "\r\n--bound--\r\n";

fn two_parts(content_type: &str, media: &[u8]) -> Vec<u8> {
    [FIRST.as_bytes(), content_type.as_bytes(), b"\r\n\r\n", media, LAST.as_bytes()].concat()
}

/// A good answer whose bytes come slowly: others ask while it is fetched.
fn slow(media: &str) -> Script {
    let body = two_parts("text/plain", media.as_bytes());
    let (begin, rest) = body.split_at(body.len() - media.len() - LAST.len());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{MIXED}\r\n", body.len());
    Script::send(head).then(begin).drip(rest)
}

fn good(media: &str) -> Script {
    Script::response(200, MIXED, two_parts("text/plain", media.as_bytes()))
}

fn path(peer: &Peer, id: &str) -> String {
    format!("/_matrix/client/v1/media/download/{}/{id}", peer.name())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_all_nodes_at_once_have_it_fetched_once() {
    let (nodes, peer) = (Nodes::start(3).await, Peer::start("theirs").await);
    peer.says(DOWNLOAD, slow("what others have, byte by byte"));
    let path = path(&peer, "media");

    let answers = join_all((0..30).map(|index| nodes.get(index % 3, &path))).await;

    for answer in &answers {
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"what others have, byte by byte"[..]));
    }
    assert_eq!(peer.received(DOWNLOAD).len(), 1);
    let handed = |name| nodes.all.iter().map(|node| node.metric(name)).sum::<u64>();
    assert!(handed("http_relayed_in_total") > 0, "those at two nodes were handed to the third");
    assert_eq!(handed("fetches_total"), 1);
    for node in 0..3 {
        assert_eq!(nodes.get(node, &path).await.body, "what others have, byte by byte");
    }
    assert_eq!(peer.received(DOWNLOAD).len(), 1, "what is kept is read where it is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_of_another_server_is_asked_for_once() {
    let (nodes, peer) = (Nodes::start(3).await, Peer::start("theirs").await);
    let picture = pictures::png(32, 24);
    peer.says(THUMBNAIL, Script::response(200, MIXED, two_parts("image/png", &picture)));
    let path = format!("/_matrix/client/v1/media/thumbnail/{}/media?width=32&height=32&method=scale", peer.name());

    let answers = join_all((0..30).map(|index| nodes.get(index % 3, &path))).await;

    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &answers[0].body), "{answer:?}");
    }
    assert_eq!(peer.received(THUMBNAIL).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_node_that_fetches_is_killed_another_one_fetches() {
    let (mut nodes, peer) = (Nodes::start(2).await, Peer::start("theirs").await);
    peer.says(DOWNLOAD, Script::default().stall());
    let path = path(&peer, "media");
    let nobody = nodes.asking(0, &path);
    peer.is_asked(DOWNLOAD).await;
    let waits = nodes.asking(1, &path);
    tintype_testing::until("it was handed on", async || nodes.all[0].metric("http_relayed_in_total") == 1).await;
    peer.says(DOWNLOAD, good("the second time"));

    nodes.all[0].kill();

    let answer = waits.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "the second time");
    nobody.await.unwrap().unwrap_err();
    assert_eq!(peer.received(DOWNLOAD).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_what_a_node_fetches_that_is_killed_is_cut_and_gets_it_the_next_time() {
    let (mut nodes, peer) = (Nodes::start(2).await, Peer::start("theirs").await);
    let begun = Script::unfinished(200, MIXED, &[FIRST.as_bytes(), b"text/plain\r\n\r\nthe first"]).stall();
    peer.says(DOWNLOAD, begun);
    let path = path(&peer, "media");
    let _first = nodes.begin(0, "GET", &path, &[], Body::empty()).await;
    let mut body = nodes.begin(1, "GET", &path, &[], Body::empty()).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "the first");
    peer.says(DOWNLOAD, good("the second time"));

    nodes.all[0].kill();

    body.collect().await.unwrap_err();
    assert_eq!(nodes.get(1, &path).await.body, "the second time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_refuses_is_told_to_those_at_every_node() {
    let (nodes, peer) = (Nodes::start(2).await, Peer::start("theirs").await);
    peer.says(DOWNLOAD, Script::error(404, "M_NOT_FOUND"));
    let path = path(&peer, "media");

    let answers = join_all((0..10).map(|index| nodes.get(index % 2, &path))).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::NOT_FOUND), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_often_an_origin_is_asked_holds_for_all_nodes() {
    let mut rules = rules();
    rules.rates.fetch_server = tintype_repository::Rate {
        per_second: std::num::NonZeroU32::MIN,
        burst: std::num::NonZeroU32::new(20).unwrap(),
    };
    let (nodes, peer) = (Arc::new(Nodes::with(2, rules).await), Peer::start("theirs").await);
    peer.says(DOWNLOAD, good("media"));
    let mut asked = 0;
    while nodes.get(0, &path(&peer, &format!("a{asked}"))).await.status == StatusCode::OK {
        asked += 1;
    }
    assert!(asked >= 20);

    let mut more = 0;
    tintype_testing::until("the other node has heard of it", async || {
        more += 1;
        nodes.get(1, &path(&peer, &format!("b{more}"))).await.status == StatusCode::TOO_MANY_REQUESTS
    })
    .await;

    assert!(more <= 20, "less than it would have asked by itself: {more}");
}
