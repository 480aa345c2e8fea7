//! In front of the homeserver: what is passed on to it, what is not, and what is changed on the way.

mod endings;
mod headers;
mod kept;
mod sessions;
mod streaming;
mod targets;
mod upstream;
mod versions;

use tintype_testing::{FakeHomeserver, TestServer};

/// A server that passes everything on to this homeserver; `config` is laid before its own.
async fn in_front_of(homeserver: &FakeHomeserver, config: &str) -> TestServer {
    TestServer::with(&format!("{config}\n{}pass_through = true\n", homeserver.config())).await
}
