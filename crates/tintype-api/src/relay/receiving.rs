//! The internal port: requests that other nodes hand to this one.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use tintype_domain::ContentHash;
use tintype_repository::{MAX_TAKEN_MESSAGE, NodeId};

use super::{ENVELOPE, Envelope, EnvelopeError, Relay, Relayed, VERDICT, look_again, takings, verdict};
use crate::{Api, Endpoints, edge::Trace};

impl Relay {
    /// The envelope of a request of another node.
    ///
    /// # Errors
    /// An [`EnvelopeError`]. What is forged uses up nothing.
    fn open(&self, request: &Request, node: Option<NodeId>) -> Result<Envelope, EnvelopeError> {
        let envelope = Envelope::open(&self.parts.key, request)?;
        envelope.is_of(self.now())?;
        if Some(envelope.to) != node {
            return Err(EnvelopeError::Misdirected);
        }
        self.nonces.take(envelope.nonce)?;
        Ok(envelope)
    }
}

impl Endpoints {
    /// Answers a request on the internal port: that of another node, as if its client had sent it here. Everybody else gets
    /// 401, and learns nothing.
    pub async fn answer_node(&self, mut request: Request) -> Response {
        let api = &self.api;
        let opened = match &api.relay {
            Some(relay) => relay.open(&request, api.parts.repository.node()),
            None => Err(EnvelopeError::Missing),
        };
        let envelope = match opened {
            Ok(envelope) => envelope,
            // It is from a node that has not heard yet that another one is here now.
            Err(EnvelopeError::Misdirected) => return look_again().into_response(),
            Err(error) => return refused(api, error),
        };
        request.headers_mut().remove(ENVELOPE);
        if let Some(hash) = envelope.body {
            return of_the_node(api, request, hash).await;
        }
        api.metrics.relayed_in();
        let Envelope { address, via, wanted, patience, .. } = envelope;
        let trace = Trace::relayed(address, via, Relayed { wanted, patience });
        let mut response = self.answer_traced(request, trace).await;
        if let Some(outcome) = response.extensions().get().copied() {
            response.headers_mut().insert(VERDICT, verdict(outcome));
        }
        response
    }
}

/// What a node says for itself.
async fn of_the_node(api: &Api, request: Request, hash: ContentHash) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST || parts.uri.path() != takings::TARGET {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(message) = to_bytes(body, MAX_TAKEN_MESSAGE).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if ContentHash::of(&message) != hash {
        return refused(api, EnvelopeError::Forged);
    }
    match api.parts.repository.hear_taken(&message) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::warn!(%error, "another node sent something else than what it has taken");
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}

fn refused(api: &Api, error: EnvelopeError) -> Response {
    api.metrics.relay_refused();
    tracing::warn!(%error, "a request on the internal port was refused");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = HeaderValue::from_static("Tintype-Relay");
    response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, challenge);
    response
}
