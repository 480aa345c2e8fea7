//! What one server shows another: its name, its keys, its signature.
//!
//! So far this is the signing key of a server that owns its name (the standalone profile), and the document in which
//! it publishes that key. Nothing here knows of storage.

mod authenticate;
mod encoding;
mod key_document;
mod keys;
mod mixed;
mod server_keys;
mod signing_key;
mod xmatrix;

pub use authenticate::{Authenticated, AuthenticationError, SignedRequest, authenticate};
pub use key_document::{
    KeyDocument, KeyDocumentError, MAX_DOCUMENT, MAX_NOTARY_ANSWER, VerifyKey, documents_of_notary,
};
pub use keys::{KeyError, KeyFetchError, KeySource, ServerKeys};
pub use mixed::{MAX_HEAD, MAX_METADATA, MAX_PADDING, MediaHead, MixedDecoder, MixedEncoder, MixedError, MixedEvent};
pub use server_keys::server_keys;
pub use signing_key::{SigningKey, SigningKeyError};
pub use xmatrix::{SignRequestError, XMatrix, XMatrixError, authorization};
