//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
//!
//! How an upload is continued is tested in `tests/client/resumable`, what downloads see of it while it arrives in
//! `tests/client/streaming`.

mod arriving;
mod refused;
mod stored;

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, TestServer, paths, until};

const MIB: usize = 1024 * 1024;

/// Up to here media lies beside its record; beyond, in a file.
const INLINE: usize = 64 * 1024;

/// When a reservation made at the start has just expired.
const EXPIRED: Duration = Duration::from_millis(24 * 60 * 60 * 1000 + 1);

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

fn cannot_overwrite() -> (u16, String) {
    (409, "M_CANNOT_OVERWRITE_MEDIA".to_owned())
}

/// A server and a reservation of one of its two users.
async fn reserved(config: &str) -> (TestServer, Client, Client, Mxc) {
    let server = TestServer::unlimited(config).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.create().await;
    (server, alice, bob, mxc)
}

/// Checks that nothing was kept, and that the creator can try again.
async fn is_free(server: &TestServer, creator: &Client, mxc: &Mxc) {
    server.holds_nothing().await;
    // That the sender is gone may be noticed later than here.
    until("the reservation is free", async || creator.put(mxc).body("again").await.status() == 200).await;
    assert_eq!(creator.get(paths::download(mxc)).await.bytes(), "again");
}
