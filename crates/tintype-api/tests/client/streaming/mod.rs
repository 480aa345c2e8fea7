//! Downloads of media that is arriving: they start at once and end when it is there, or not at all.

mod failures;
mod headers;
mod live;
mod ranges;

use tintype_domain::Mxc;
use tintype_testing::{Client, Receiving, TestServer, paths};

/// A server, two users, and a reservation of the first.
async fn reserved(config: &str) -> (TestServer, Client, Client, Mxc) {
    let server = TestServer::unlimited(config).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.create().await;
    (server, alice, bob, mxc)
}

/// A download whose head is there.
async fn open(user: &Client, mxc: &Mxc) -> Receiving {
    user.get(paths::download(mxc)).open().await
}

/// A download of a range, whose head is there.
async fn open_range(user: &Client, mxc: &Mxc, range: &str) -> Receiving {
    user.get(paths::download(mxc)).header("range", range).open().await
}
