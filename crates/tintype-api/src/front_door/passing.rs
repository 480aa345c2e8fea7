//! Passing on, and counting what becomes of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    http::{Request, Response as HttpResponse},
    response::Response,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tintype_homeserver::{ForwardError, ForwardedBody, Homeserver};

use super::{body::ClientBody, passed};
use crate::{Api, error::MatrixError, metrics::PassedOutcome};

/// A request that is being passed on. It is counted when it is dropped: by then its client has left, or it has ended.
struct Passing {
    api: Arc<Api>,
    outcome: PassedOutcome,
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.api.metrics.passed(self.outcome);
    }
}

/// The homeserver's answer to this request.
///
/// # Errors
/// 502 if it gives none.
pub(crate) async fn passed_on(
    api: &Arc<Api>,
    homeserver: &Homeserver,
    request: Request<ClientBody>,
) -> Result<Response, MatrixError> {
    sent(api, homeserver, request).await.map(passed).map_err(|error| MatrixError::from(&error))
}

/// The same, for whoever has to know what became of it.
pub(crate) async fn sent(
    api: &Arc<Api>,
    homeserver: &Homeserver,
    request: Request<ClientBody>,
) -> Result<HttpResponse<PassedBody>, ForwardError> {
    api.metrics.passes();
    let mut passing = Passing { api: Arc::clone(api), outcome: PassedOutcome::left };
    let path = request.uri().path().to_owned();
    match homeserver.forward(request).await {
        Ok(answer) => Ok(answer.map(|body| PassedBody { body, passing })),
        Err(error) => {
            passing.outcome = match &error {
                ForwardError::NotSent(_) => PassedOutcome::unreachable,
                ForwardError::Unknown(_) => PassedOutcome::unanswered,
            };
            tracing::warn!(path, %error, "a request could not be passed on");
            Err(error)
        }
    }
}

/// The homeserver's answer, as it comes.
pub(crate) struct PassedBody {
    body: ForwardedBody,
    passing: Passing,
}

impl Body for PassedBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.passing.outcome = PassedOutcome::cut,
            None => self.passing.outcome = PassedOutcome::answered,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for PassedBody {
    fn drop(&mut self) {
        // Nobody asks for more than the length that was said.
        if self.passing.outcome == PassedOutcome::left && self.body.is_end_stream() {
            self.passing.outcome = PassedOutcome::answered;
        }
    }
}
