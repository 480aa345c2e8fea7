//! The endpoints as clients and operators see them: a real server, real sockets, real files.
//!
//! The files here mirror those in `src`: what `src/client/upload.rs` promises is tested in `tests/client/upload.rs`.
//! What concerns every endpoint has files of its own beside them.

mod appservice;
mod asynchronous_model;
mod attaching;
mod authentication;
mod client;
mod connections;
mod edge;
mod federation;
mod front_door;
mod legacy;
mod lifecycle;
mod limits;
mod linked;
mod object_store;
mod races;
mod redirects;
mod restricted;
mod serve;
mod standalone;
mod telemetry;
mod tenants;
mod tls;
