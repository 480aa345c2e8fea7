//! Requests that one node hands to another: what is in one process is reached by handing it the client's own request.
//!
//! An upload that arrives, what is kept of an interrupted one, a fetch that runs and a thumbnail that is being made are known
//! to one node only. Where the repository says that something is [`Elsewhere`], the request goes there as its client sent it,
//! in an [`Envelope`], to a port that the nodes have among themselves; the same router answers it, and the answer is streamed
//! back. A request that was handed on is answered where it is, or not at all: it never goes further. A node that has nothing
//! of what is asked for says so, and whoever asked looks again.

mod envelope;
mod nonces;
mod receiving;
mod sending;
mod takings;

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderName, HeaderValue, StatusCode};
use tintype_domain::{Clock, Randomness, SystemClock, Timestamp};
use tintype_repository::{ClusterKey, Wanted};

pub use self::envelope::{ENVELOPE, Envelope, EnvelopeError};
use self::nonces::Nonces;
pub(crate) use self::sending::{Place, answer_of_node, upload_elsewhere};
use crate::{error::MatrixError, outcome::Outcome};

/// What a node says with its answer to another: that it has nothing of what is asked for, or what became of the request.
pub(crate) const VERDICT: HeaderName = HeaderName::from_static("tintype-relay-verdict");

/// The verdict of a node that has nothing of what is asked for.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("look-again");

/// The verdict where media is there, and frozen.
const FROZEN: HeaderValue = HeaderValue::from_static("frozen");

/// This node among the others.
pub struct RelayParts {
    /// What envelopes are sealed with.
    pub key: ClusterKey,
    /// Where nonces come from.
    pub randomness: Arc<dyn Randomness>,
}

/// This node among the others, and what it remembers of them.
pub(crate) struct Relay {
    parts: RelayParts,
    /// The machine's: how far nodes are apart has nothing to do with the time of media.
    clock: SystemClock,
    nonces: Nonces,
}

impl Relay {
    pub(crate) fn new(parts: RelayParts) -> Self {
        Self { parts, clock: SystemClock, nonces: Nonces::new() }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What the first node has decided about a request that it handed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relayed {
    pub(crate) wanted: Wanted,
    pub(crate) patience: Option<Duration>,
}

/// The answer to another node that this one has nothing of what it asks for. No client ever sees it.
pub(crate) fn look_again() -> MatrixError {
    MatrixError::new(StatusCode::MISDIRECTED_REQUEST, "M_UNKNOWN", "This is at another node")
        .with_header(VERDICT, LOOK_AGAIN)
}

/// What an outcome is called between nodes.
fn verdict(outcome: Outcome) -> HeaderValue {
    match outcome {
        Outcome::Served { stored } => stored.as_millis().into(),
        Outcome::Frozen => FROZEN,
    }
}

/// The outcome that is called so between nodes.
fn outcome(verdict: &HeaderValue) -> Option<Outcome> {
    if *verdict == FROZEN {
        return Some(Outcome::Frozen);
    }
    Some(Outcome::Served { stored: Timestamp(verdict.to_str().ok()?.parse().ok()?) })
}
