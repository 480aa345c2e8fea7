//! The body of an upload: cut when it stops arriving, and read to its end when it is refused.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http_body::{Body as _, SizeHint};
use tintype_repository::BodyError;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How long a refused upload is read on, at most.
const LINGER: Duration = Duration::from_secs(20);

/// How much of a refused upload is read on, at most, in bytes.
const LINGER_BYTES: usize = 512 * 1024 * 1024;

/// A request's body as the repository wants it.
pub(crate) struct UploadBody {
    chunks: BodyDataStream,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Nothing came for too long.
    stalled: bool,
}

impl UploadBody {
    /// A body that is cut when nothing arrives for `idle`.
    pub(crate) fn new(body: Body, idle: Duration) -> Self {
        Self { chunks: body.into_data_stream(), idle, deadline: Box::pin(sleep(idle)), stalled: false }
    }

    /// How much is to come, as far as that is known, and whether nothing is.
    pub(crate) fn size(&self) -> (SizeHint, bool) {
        (http_body::Body::size_hint(&self.chunks), self.chunks.is_end_stream())
    }

    /// Reads on without keeping anything, so that a client that is still sending hears the answer instead of a reset
    /// connection. Bounded in time and bytes; then the connection closes. A client that stopped sending is not waited for.
    pub(crate) fn linger(mut self) {
        if self.stalled || self.chunks.is_end_stream() {
            return;
        }
        tokio::spawn(async move {
            let drain = async {
                let mut drained = 0;
                while let Some(Ok(chunk)) = self.chunks.next().await {
                    drained += chunk.len();
                    if drained > LINGER_BYTES {
                        break;
                    }
                }
            };
            let _ = timeout(LINGER, drain).await;
        });
    }
}

impl Stream for UploadBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(chunk) = this.chunks.poll_next_unpin(context) {
            let next = Instant::now() + this.idle;
            this.deadline.as_mut().reset(next);
            return Poll::Ready(chunk.map(|chunk| chunk.map_err(|error| BodyError::Broken(error.to_string()))));
        }
        this.deadline.as_mut().poll(context).map(|()| {
            this.stalled = true;
            Some(Err(BodyError::Stalled))
        })
    }
}
