//! What one server shows another: its name, its keys, its signature; and how one asks another for media.
//!
//! [`Federation`] is what the rest of the program sees: it authenticates requests of other servers, and fetches media from
//! them. Below it, [`Outbound`] finds and connects to other servers, behind one [`AddressFilter`]; [`ServerKeys`] knows
//! their keys; [`MixedDecoder`] and [`MixedEncoder`] read and write what media is wrapped in. Nothing here knows of
//! storage.

mod addresses;
mod authenticate;
mod backoff;
mod connector;
mod discovery;
mod encoding;
mod federation;
mod fetch;
mod key_document;
mod key_source;
mod keys;
mod media;
mod mixed;
mod outbound;
mod peers;
mod resolver;
mod server_keys;
mod signing_key;
mod slots;
mod web;
mod well_known;
mod xmatrix;

pub use addresses::AddressFilter;
pub use authenticate::{Authenticated, AuthenticationError, SignedRequest, authenticate};
pub use discovery::Step;
pub use federation::{Federation, FederationParts};
pub use fetch::FetchTimes;
pub use key_document::{
    KeyDocument, KeyDocumentError, MAX_DOCUMENT, MAX_NOTARY_ANSWER, VerifyKey, documents_of_notary,
};
pub use keys::{KeyError, KeyFetchError, KeySource, ServerKeys};
pub use media::{FetchError, Question, QuestionKind, RemoteBody, RemoteMedia};
pub use mixed::{MAX_HEAD, MAX_METADATA, MAX_PADDING, MediaHead, MixedDecoder, MixedEncoder, MixedError, MixedEvent};
pub use outbound::{Destination, Outbound, OutboundError, OutboundParts, Ports};
pub use peers::Peers;
pub use server_keys::server_keys;
pub use signing_key::{SigningKey, SigningKeyError};
pub use xmatrix::{SignRequestError, XMatrix, XMatrixError, authorization};
