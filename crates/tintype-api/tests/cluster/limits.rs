//! What is counted is counted for all nodes together.

use axum::{body::Body, http::StatusCode};
use futures_util::future::join_all;
use tintype_storage::records::Quota;

use crate::{node::rules, nodes::Nodes};

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_that_of_all_nodes() {
    let mut rules = rules();
    rules.quota = Quota { media: 10, ..Quota::UNLIMITED };
    let nodes = Nodes::with(3, rules).await;

    let uploads = (0..30).map(|index| nodes.upload(index % 3, "text/plain", format!("upload {index}")));
    let answers = join_all(uploads).await;

    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::OK), count(StatusCode::FORBIDDEN)), (10, 20), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_uris_are_reserved_at_all_nodes_together() {
    let mut rules = rules();
    rules.max_pending_uploads = 5;
    let nodes = Nodes::with(3, rules).await;

    let reserving = (0..15).map(|index| nodes.ask(index % 3, "POST", "/_matrix/media/v1/create", &[], Body::empty()));
    let answers = join_all(reserving).await;

    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::OK), count(StatusCode::TOO_MANY_REQUESTS)), (5, 10), "{answers:?}");
}
