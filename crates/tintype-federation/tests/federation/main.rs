//! The crate through its public interface, among other servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

mod bodies;
mod discovery;
mod fetch;
mod keys;
mod location;
mod outbound;
mod safety;
#[path = "../support/mod.rs"]
mod support;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use support::{Answer, PATIENCE, Peer, Received, World, answer};
use tintype_domain::{OwnedServerName, ServerName};
use tintype_federation::{Outbound, OutboundError};

fn server(name: &str) -> OwnedServerName {
    ServerName::parse(name).unwrap()
}

/// What a peer says that is only to be reached.
fn hello(_: &Received) -> Answer {
    answer(StatusCode::OK, &[], "hello")
}

/// A Matrix server that is found by its name alone.
async fn matrix(world: &World, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Peer {
    world.dns.host("example.test", world.address(3));
    Peer::start(world.federation(3), world.authority.server(&["example.test"]), answer).await
}

/// GET of `/hello` at a Matrix server, and the text that it answers.
async fn get(outbound: &Outbound, name: &str) -> Result<String, OutboundError> {
    Ok(text(outbound.get(&server(name), "/hello", HeaderMap::new(), PATIENCE).await?).await)
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}
