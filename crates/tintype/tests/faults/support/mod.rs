//! What the tests need: an installation in a temporary folder, the server as a process, a client made of a bare socket
//! (so that it can misbehave), and a look at what is on the disk.

mod client;
mod installation;
mod inventory;
mod random;
mod server;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use self::{
    client::{Client, Connection, Response, closes_within},
    installation::Installation,
    inventory::{Inventory, assert_nothing_unfinished, blobs, partial, unfinished},
    random::Random,
    server::Server,
};

/// How long anything may take that should happen soon. Generous: it is only waited for in full when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Raises this process's limit of open files: a thousand connections have two ends.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(4096, |maximum| maximum.min(4096));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).expect("the hard limit allows it");
    }
}
