//! What one server shows another: its name, its keys, its signature.
//!
//! So far this is the signing key of a server that owns its name (the standalone profile), and the document in which
//! it publishes that key. Nothing here knows of storage.

mod addresses;
mod backoff;
mod connector;
mod discovery;
mod outbound;
mod resolver;
mod server_keys;
mod signing_key;
mod web;
mod well_known;

pub use addresses::AddressFilter;
pub use discovery::Step;
pub use outbound::{Destination, Outbound, OutboundError, OutboundParts, Ports};
pub use server_keys::server_keys;
pub use signing_key::{SigningKey, SigningKeyError};
