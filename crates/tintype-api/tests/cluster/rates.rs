//! A rate is that of all nodes together.

use std::num::NonZeroU32;

use axum::{body::Body, http::StatusCode};
use tintype_repository::Rate;
use tintype_testing::until;

use crate::{node::rules, nodes::Nodes};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_gave_is_gone_at_the_others() {
    // So slow that hardly anything comes back meanwhile, and so many that the other node hears of it before they are gone.
    let burst = NonZeroU32::new(400).unwrap();
    let mut rules = rules();
    rules.rates.download = Rate { per_second: NonZeroU32::MIN, burst };
    let nodes = Nodes::with(2, rules).await;
    let path = "/_matrix/client/v1/media/download/localhost/nothing";
    let mut given = 0;
    while nodes.get(0, path).await.status != StatusCode::TOO_MANY_REQUESTS {
        given += 1;
    }
    assert!(given >= 400);

    let mut also_given = 0;
    until("the other node has heard of it", async || {
        let status = nodes.begin(1, "GET", path, &[], Body::empty()).await.status();
        also_given += u32::from(status != StatusCode::TOO_MANY_REQUESTS);
        status == StatusCode::TOO_MANY_REQUESTS
    })
    .await;

    assert!(also_given < 400, "less than it would have given by itself: {also_given}");
}
