//! What one server shows another: its name, its keys, its signature.
//!
//! So far this is the signing key of a server that owns its name (the standalone profile), and the document in which
//! it publishes that key. Nothing here knows of storage.

mod encoding;
mod mixed;
mod server_keys;
mod signing_key;
mod xmatrix;

pub use mixed::{MAX_HEAD, MAX_METADATA, MAX_PADDING, MediaHead, MixedDecoder, MixedEncoder, MixedError, MixedEvent};
pub use server_keys::server_keys;
pub use signing_key::{SigningKey, SigningKeyError};
pub use xmatrix::{SignRequestError, XMatrix, XMatrixError, authorization};
