//! Media between servers: what is given to others, and what is fetched from them.

mod absent;
mod arriving;
mod between;
mod counting;
mod crowd;
mod ephemeral;
mod hostile_asker;
mod hostile_origin;
mod kept;
mod old_endpoints;
mod ourselves;
mod parting;
mod redirects;
mod serving;
mod thumbnails;

use http::Method;
use tintype_federation::authorization;
use tintype_testing::{Client, Request, TestServer};

/// Two servers with these configurations, Alice at the first and Bob at the second.
pub(crate) async fn pair(ours: &str, theirs: &str) -> (TestServer, TestServer, Client, Client) {
    // Boxed: starting a server is a large future.
    let (ours, theirs) = tokio::join!(
        Box::pin(TestServer::federating("ours", ours)),
        Box::pin(TestServer::federating("theirs", theirs))
    );
    let (alice, bob) = (ours.user("alice").await, theirs.user("bob").await);
    (ours, theirs, alice, bob)
}

/// A request of one server to another, signed as if it were sent to `destination`.
pub(crate) fn signed(
    from: &TestServer,
    to: &TestServer,
    destination: &TestServer,
    method: Method,
    target: &str,
) -> Request {
    let (origin, destination) = (from.name(), destination.name());
    let signature = authorization(&from.signing_key(), origin, destination, method.as_str(), target);
    let signature = signature.expect("a server signs what a test asks for");
    to.over_tls(&to.anonymous()).request(method, target).header("authorization", signature)
}

/// A `GET` of one server to another.
pub(crate) fn ask(from: &TestServer, to: &TestServer, target: &str) -> Request {
    signed(from, to, to, Method::GET, target)
}
