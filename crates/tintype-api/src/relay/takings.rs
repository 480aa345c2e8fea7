//! What each node tells the others every quarter of a second: what was taken from the buckets of its rate limits.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{Method, Request, header},
};
use http_body_util::{BodyExt as _, Full};
use tintype_domain::ContentHash;
use tintype_repository::{Node, NodeId};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Envelope, RelayParts, sending::request_to};
use crate::{Endpoints, relay::ENVELOPE};

/// Where it is told.
pub(super) const TARGET: &str = "/_tintype/taken";

/// How often. What a client gets of several nodes within that time is not limited by what it gets of the others.
const EVERY: Duration = Duration::from_millis(250);

/// How long a node may take to hear it; what it does not hear is not told again.
const PATIENCE: Duration = Duration::from_secs(1);

impl Endpoints {
    /// Tells the other nodes what was taken here, for as long as it is polled.
    pub async fn tell_takings(&self) {
        let Some(relay) = &self.api.relay else { return std::future::pending().await };
        let repository = &self.api.parts.repository;
        let mut interval = interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            repository.settle_taken();
            let Some(from) = repository.node() else { continue };
            let message = Bytes::from(repository.taken());
            if message.is_empty() {
                continue;
            }
            let told = repository.other_nodes().into_iter().map(|node| {
                let message = message.clone();
                async move {
                    match timeout(PATIENCE, tell(&relay.parts, from, relay.now(), &node, message)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(why)) => tracing::debug!(node = %node.id, why, "a node was not told what was taken"),
                        Err(_) => tracing::debug!(node = %node.id, "a node does not hear what was taken"),
                    }
                }
            });
            futures_util::future::join_all(told).await;
        }
    }
}

async fn tell(
    parts: &RelayParts,
    from: NodeId,
    now: tintype_domain::Timestamp,
    node: &Node,
    message: Bytes,
) -> Result<(), String> {
    let envelope = Envelope {
        body: Some(ContentHash::of(&message)),
        ..Envelope::new(from, node.id, now, IpAddr::V4(Ipv4Addr::UNSPECIFIED), &*parts.randomness)
    };
    let mut request = Request::new(Full::new(message).map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = TARGET.parse().expect("it is a target");
    request.headers_mut().insert(header::HOST, "tintype".parse().expect("it is a host"));
    let value = envelope.seal(&parts.key, &request);
    request.headers_mut().insert(ENVELOPE, value);
    let answer = request_to(node, request).await?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status())) }
}
