//! A real server on a free port, and users to talk to it, for black-box tests.
//!
//! Nothing here stands in for a part of Tintype: [`TestServer`] is the server that the binary runs, on a folder of its
//! own, with only the clock in the test's hands. Everything is seen as a client or an operator sees it: through HTTP,
//! the metrics and the files on disk. The stand-ins are [`FakeHomeserver`] and [`Peer`], another Matrix server, for answers
//! that no real one can be made to give.
//!
//! ```no_run
//! # use tintype_testing::{TestServer, paths};
//! # async fn example() {
//! let server = TestServer::with("limits.max_upload_size = '1MiB'").await;
//! let alice = server.user("alice").await;
//! let mxc = alice.upload("hello").content_type("text/plain").await;
//! assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
//! # }
//! ```

mod balancer;
mod client;
mod connection;
mod database;
mod homeserver;
pub mod linked;
pub mod paths;
mod pattern;
mod peer;
pub mod pictures;
pub mod port;
mod profile;
mod script;
mod server;
mod stores;
pub mod tls;
mod transfer;
mod wait;
mod waiting;

pub use self::{
    client::{Client, Request, Response, UploadRequest},
    connection::Connection,
    homeserver::{Asked, FakeHomeserver},
    pattern::pattern,
    peer::{Peer, Received},
    profile::{Profile, is_embedded},
    script::Script,
    server::{START, TestServer},
    stores::Installation,
    transfer::{Receiving, Sending},
    wait::until,
    waiting::Waiting,
};
