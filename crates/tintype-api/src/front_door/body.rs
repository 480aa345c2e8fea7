//! The body of a request on its way to the homeserver.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream as _;
use http_body::{Body as _, Frame, SizeHint};
use tintype_repository::BodyError;

use crate::upload_body::UploadBody;

/// A client's body as it is passed on. It ends in an error when the client sends nothing for too long; if the homeserver does
/// not want all of it the rest is read here, so that the client hears why.
pub(crate) struct ClientBody {
    /// What was read before it is passed on.
    beginning: Option<Bytes>,
    body: Option<UploadBody>,
    size: SizeHint,
    is_over: bool,
}

impl ClientBody {
    pub(crate) fn new(body: Body, idle: Duration) -> Self {
        let (size, is_over) = (body.size_hint(), body.is_end_stream());
        Self { beginning: None, body: Some(UploadBody::new(body, idle)), size, is_over }
    }

    /// An upload of which nothing was read yet.
    pub(crate) fn unread(body: UploadBody) -> Self {
        let (size, is_over) = body.size();
        Self { beginning: None, body: Some(body), size, is_over }
    }

    /// A body of which nothing is left to come.
    pub(crate) fn whole(body: Bytes) -> Self {
        let size = SizeHint::with_exact(body.len() as u64);
        Self { is_over: body.is_empty(), beginning: Some(body), body: None, size }
    }

    /// The same, and before it what was read of it.
    pub(crate) fn after(mut self, beginning: Bytes) -> Self {
        if let Some(left) = self.size.exact() {
            self.size = SizeHint::with_exact(left + beginning.len() as u64);
        }
        self.is_over &= beginning.is_empty();
        self.beginning = Some(beginning);
        self
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(beginning) = self.beginning.take().filter(|beginning| !beginning.is_empty()) {
            return Poll::Ready(Some(Ok(beginning)));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_next(context),
            None => Poll::Ready(None),
        }
    }
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let chunk = ready!(this.poll_chunk(context));
        match &chunk {
            Some(Ok(chunk)) => {
                let length = chunk.len() as u64;
                if let Some(left) = this.size.exact() {
                    this.size = SizeHint::with_exact(left.saturating_sub(length));
                    this.is_over = left <= length;
                }
            }
            Some(Err(_)) | None => this.is_over = true,
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !self.is_over
            && tokio::runtime::Handle::try_current().is_ok()
        {
            body.linger();
        }
    }
}
