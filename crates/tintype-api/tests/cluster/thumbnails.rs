//! A thumbnail is made once, wherever it is asked for.

use axum::{body::Body, http::StatusCode};
use futures_util::future::join_all;
use tintype_testing::pictures;

use crate::nodes::Nodes;

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_all_nodes_at_once_have_it_made_once() {
    let nodes = Nodes::start(3).await;
    let picture = pictures::png(640, 480);
    let uploaded =
        nodes.ask(0, "POST", "/_matrix/media/v3/upload", &[("content-type", "image/png")], Body::from(picture));
    let uploaded: serde_json::Value = serde_json::from_slice(&uploaded.await.body).unwrap();
    let id = uploaded["content_uri"].as_str().unwrap().rsplit('/').next().unwrap();
    let path = format!("/_matrix/client/v1/media/thumbnail/localhost/{id}?width=32&height=32");

    let answers = join_all((0..30).map(|index| nodes.get(index % 3, &path))).await;

    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &answers[0].body));
    }
    assert_eq!(nodes.all.iter().map(|node| node.metric("thumbnails_made_total")).sum::<u64>(), 1);
}
