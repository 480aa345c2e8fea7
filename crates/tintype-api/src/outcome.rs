//! What became of a request for media, passed beside the answer to whoever counts.

use std::{cell::RefCell, collections::HashMap};

use axum::{
    http::{HeaderValue, Method, StatusCode},
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
pub(crate) fn count(
    api: &Api,
    endpoint: Endpoint,
    method: &Method,
    user_agent: Option<&HeaderValue>,
    response: &Response,
) {
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
            if response.status().is_success()
                || matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::TEMPORARY_REDIRECT) =>
        {
            (MediaRequestOutcome::Served, Some(*stored))
        }
        Some(Outcome::Frozen) => (MediaRequestOutcome::Frozen, None),
        _ => (MediaRequestOutcome::Other, None),
    };
    api.parts.repository.count_use(family(user_agent), endpoint, outcome, stored);
}

/// Clients that a thread remembers.
const REMEMBERED: usize = 1000;

thread_local! {
    /// By what they call themselves: clients are few, requests many, and telling the family takes some time.
    static FAMILIES: RefCell<HashMap<Box<[u8]>, ClientFamily>> = RefCell::default();
}

fn family(user_agent: Option<&HeaderValue>) -> ClientFamily {
    let Some(user_agent) = user_agent else { return ClientFamily::of(None) };
    FAMILIES.with_borrow_mut(|families| {
        if let Some(family) = families.get(user_agent.as_bytes()) {
            return *family;
        }
        let family = ClientFamily::of(Some(&String::from_utf8_lossy(user_agent.as_bytes())));
        if families.len() >= REMEMBERED {
            families.clear();
        }
        families.insert(user_agent.as_bytes().into(), family);
        family
    })
}
