//! What one server shows another: its name, its keys, its signature.
//!
//! So far this is the signing key of a server that owns its name (the standalone profile), and the document in which
//! it publishes that key. Nothing here knows of storage.

mod addresses;
mod backoff;
mod connector;
mod discovery;
mod encoding;
mod mixed;
mod outbound;
mod resolver;
mod server_keys;
mod signing_key;
mod web;
mod well_known;
mod xmatrix;

pub use addresses::AddressFilter;
pub use discovery::Step;
pub use mixed::{MAX_HEAD, MAX_METADATA, MAX_PADDING, MediaHead, MixedDecoder, MixedEncoder, MixedError, MixedEvent};
pub use outbound::{Destination, Outbound, OutboundError, OutboundParts, Ports};
pub use server_keys::server_keys;
pub use signing_key::{SigningKey, SigningKeyError};
pub use xmatrix::{SignRequestError, XMatrix, XMatrixError, authorization};
