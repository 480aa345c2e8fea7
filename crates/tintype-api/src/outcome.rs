//! What became of a request for media, passed beside the answer to whoever counts.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use tintype_domain::Timestamp;
use tintype_repository::ClientFamily;
use tintype_storage::records::{MediaEndpoint, MediaRequestOutcome};

use crate::{Api, metrics::Endpoint};

/// What an answer with media, or the lack of it, does not say of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// Media that was stored at this time.
    Served {
        /// When.
        stored: Timestamp,
    },
    /// Media is there, and frozen: to the client it is not.
    Frozen,
}

impl Outcome {
    /// The answer, with this noted.
    pub(crate) fn noted(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

/// Counts the answer to a request for media of ours or of others by a client.
pub(crate) fn count(api: &Api, endpoint: Endpoint, method: &Method, user_agent: Option<&str>, response: &Response) {
    let endpoint = match endpoint {
        Endpoint::download | Endpoint::thumbnail => MediaEndpoint::New,
        Endpoint::legacy_download | Endpoint::legacy_thumbnail => MediaEndpoint::Old,
        _ => return,
    };
    if method != Method::GET && method != Method::HEAD {
        return;
    }
    let (outcome, stored) = match response.extensions().get() {
        Some(Outcome::Served { stored })
            if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED =>
        {
            (MediaRequestOutcome::Served, Some(*stored))
        }
        Some(Outcome::Frozen) => (MediaRequestOutcome::Frozen, None),
        _ => (MediaRequestOutcome::Other, None),
    };
    api.parts.repository.count_use(ClientFamily::of(user_agent), endpoint, outcome, stored);
}
