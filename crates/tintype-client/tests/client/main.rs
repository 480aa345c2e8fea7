//! The client against a real server, and against peers that do what a real server cannot be made to do.

mod arriving;
mod create;
mod delete;
mod download;
mod encrypted;
mod ephemeral;
mod peer;
mod put;
mod relay;
mod restricted;
mod resumable;
mod server;
mod thumbnail;
mod told;
mod transport;
mod upload;
mod waiting;
