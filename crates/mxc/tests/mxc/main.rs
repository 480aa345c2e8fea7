//! The program as people and scripts run it: arguments in, text and an exit code out.

mod create;
mod download;
mod encrypted;
mod ephemeral;
mod errors;
mod interruption;
mod program;
mod put;
mod restricted;
mod rm;
mod terminal;
mod thumbnail;
mod token;
mod upload;
mod usage;

// A server behind a network that can be cut, and a peer that answers as it is told: as the library's tests have them.
#[expect(dead_code, reason = "the library's tests use the rest")]
#[path = "../../../tintype-client/tests/client/peer.rs"]
mod peer;
#[path = "../../../tintype-client/tests/client/relay.rs"]
mod relay;
#[expect(dead_code, reason = "the library's tests use the rest")]
#[path = "../../../tintype-client/tests/client/server.rs"]
mod server;
