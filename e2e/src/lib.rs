//! Black-box suites against real peers: a real Synapse, real clients, nginx and Caddy.
//!
//! Nothing here knows Tintype from inside: it starts the built program and talks to it as anybody would. Every
//! program listens on a free port of the loopback address and ends with the test, or with the test process at the
//! latest. `cargo xtask test` installs what the suites run against (`xtask/src/tools.rs`).
//!
//! A failure here is a panic with the reason: these are tests, and nobody could go on.

pub mod asynchronous;
pub mod caddy;
pub mod certificates;
pub mod conversation;
pub mod dialogue;
pub mod dice;
pub mod exchange;
pub mod federation;
pub mod fickle;
pub mod folder;
pub mod front_door;
pub mod nginx;
pub mod person;
pub mod picture;
pub mod port;
pub mod process;
pub mod round_trip;
pub mod synapse;
pub mod tintype;
pub mod tools;
