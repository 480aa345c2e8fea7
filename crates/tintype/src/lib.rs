//! The server program: reads the configuration, wires the crates together, and runs them from start to drain.
//!
//! Nothing else reads the configuration, and nothing here decides what a request may do. It is a library beside the
//! binary so that tests start the same server in their own process.

pub mod commands;
pub mod config;
mod log_writer;
mod request_log;
mod server;
mod telemetry;
mod wiring;

pub use server::{Address, Server};
pub use wiring::records;
