//! A request with a body, watched while it is sent.
//!
//! [`Outgoing`] hands the pieces of a source to the connection and checks that they are as many as were announced: the
//! last piece is held back until the source has ended, so that a wrong length can never look like a whole upload.
//! [`Watch`] knows since when the connection has taken nothing. A source that is slow, such as a pipe, is not the
//! connection's fault and never times out.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::{Body, Frame, SizeHint};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, sleep_until};

use crate::{
    Error,
    retry::{Event, Listener},
    source::Pieces,
};

/// What is known of a body on its way.
struct Watch {
    state: Mutex<State>,
    listener: Listener,
}

struct State {
    /// Since when it is up to the connection to move; `None` while the source is awaited.
    waiting_since: Option<Instant>,
    /// Why the body ended early, if it was not the connection.
    failure: Option<Error>,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the connection has not moved for this long.
    async fn stalled(&self, for_so_long: Duration) {
        loop {
            let since = self.state().waiting_since;
            let until = since.unwrap_or_else(Instant::now) + for_so_long;
            if since.is_some() && until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// What a body is made of.
pub(crate) struct Content {
    pub(crate) pieces: Pieces,
    /// Where in the media the pieces begin.
    pub(crate) at: u64,
    /// The length of the media, if it is announced.
    pub(crate) announced: Option<u64>,
}

/// A body for one request.
struct Outgoing {
    // The lock is never contended: it makes the stream shareable, which the body of a request has to be.
    pieces: Mutex<Pieces>,
    at: u64,
    announced: Option<u64>,
    /// A piece that reaches the announced length, until the source has ended.
    held: Option<Bytes>,
    watch: Arc<Watch>,
}

impl Outgoing {
    fn fail(&self, error: Error) -> io::Error {
        let message = io::Error::other(error.to_string());
        self.watch.state().failure = Some(error);
        message
    }

    fn wrong_length(&self, announced: u64) -> io::Error {
        self.fail(Error::SourceLength { announced })
    }

    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        loop {
            let pieces = self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner);
            let Some(piece) = ready!(pieces.poll_next_unpin(context)) else {
                return Poll::Ready(match (self.held.take(), self.announced) {
                    (Some(last), _) => Some(Ok(last)),
                    (None, Some(announced)) if self.at < announced => Some(Err(self.wrong_length(announced))),
                    (None, _) => None,
                });
            };
            let piece = match piece {
                Ok(piece) if piece.is_empty() => continue,
                Ok(piece) => piece,
                Err(error) => return Poll::Ready(Some(Err(self.fail(Error::Source(error))))),
            };
            self.at += piece.len() as u64;
            match self.announced {
                Some(announced) if self.at > announced => {
                    return Poll::Ready(Some(Err(self.wrong_length(announced))));
                }
                Some(announced) if self.at == announced => self.held = Some(piece),
                _ => return Poll::Ready(Some(Ok(piece))),
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.watch.state().waiting_since = None;
        let piece = ready!(self.next_piece(context));
        self.watch.state().waiting_since = Some(Instant::now());
        if let Some(Ok(_)) = piece {
            self.watch.listener.tell(Event::Progress { at: self.at });
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, Bytes::len) as u64;
        match self.announced {
            Some(announced) => SizeHint::with_exact(announced.saturating_sub(self.at) + held),
            None => SizeHint::new(),
        }
    }
}

/// Sends a request with this body.
///
/// # Errors
/// The source's failure before the connection's, which it brings about; a time-out if the connection takes nothing, or
/// no answer comes, for `idle`.
pub(crate) async fn send_content(
    request: RequestBuilder,
    content: Content,
    listener: Listener,
    idle: Duration,
) -> Result<Response, Error> {
    let state = Mutex::new(State { waiting_since: Some(Instant::now()), failure: None });
    let watch = Arc::new(Watch { state, listener });
    let Content { mut pieces, at, announced } = content;
    // A body of no bytes is not asked for any.
    if announced == Some(at)
        && let Some(piece) = pieces.try_next().await.map_err(Error::Source)?
        && !piece.is_empty()
    {
        return Err(Error::SourceLength { announced: at });
    }
    let body = Outgoing { pieces: Mutex::new(pieces), at, announced, held: None, watch: Arc::clone(&watch) };
    let sending = request.body(reqwest::Body::wrap(body)).send();
    let sent = tokio::select! {
        sent = sending => sent.map_err(Error::from),
        () = watch.stalled(idle) => Err(Error::timed_out()),
    };
    sent.map_err(|error| watch.state().failure.take().unwrap_or(error))
}

/// Sends a request without a body, or with one that fits any buffer.
///
/// # Errors
/// A time-out if there is no answer within `patience`.
pub(crate) async fn send(request: RequestBuilder, patience: Duration) -> Result<Response, Error> {
    match tokio::time::timeout(patience, request.send()).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(Error::timed_out()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn outgoing(pieces: &[&'static str], at: u64, announced: Option<u64>) -> Outgoing {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect::<Vec<_>>();
        let state = Mutex::new(State { waiting_since: None, failure: None });
        let watch = Arc::new(Watch { state, listener: Listener::default() });
        Outgoing { pieces: Mutex::new(stream::iter(pieces).boxed()), at, announced, held: None, watch }
    }

    /// What comes out of it until it ends or fails.
    async fn drain(mut body: Outgoing) -> (Vec<u8>, Option<Error>) {
        let mut sent = Vec::new();
        while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            sent.extend_from_slice(&frame.into_data().unwrap());
        }
        (sent, body.watch.state().failure.take())
    }

    #[tokio::test]
    async fn a_body_of_the_announced_length_is_sent_whole() {
        for announced in [Some(6), None] {
            let (sent, failure) = drain(outgoing(&["ab", "", "cd", "ef"], 0, announced)).await;
            assert_eq!(sent, b"abcdef");
            assert!(failure.is_none());
        }
        assert_eq!(drain(outgoing(&["cd"], 2, Some(4))).await.0, b"cd");
        assert_eq!(drain(outgoing(&[], 4, Some(4))).await.0, b"");
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_never_sent_to_its_end() {
        for pieces in [&["ab", "c"][..], &["ab", "cd", "e"], &["abcde"], &["ab", "cde"], &[]] {
            let (sent, failure) = drain(outgoing(pieces, 0, Some(4))).await;
            assert!(sent.len() < 4, "{pieces:?}");
            assert!(matches!(failure, Some(Error::SourceLength { announced: 4 })), "{failure:?}");
        }
    }

    #[tokio::test]
    async fn the_length_on_the_way_is_what_is_left() {
        let mut body = outgoing(&["ab", "cd"], 6, Some(10));
        assert_eq!(body.size_hint().exact(), Some(4));

        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap().unwrap();

        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(outgoing(&[], 0, None).size_hint().exact(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_does_not_move_is_stalled() {
        const IDLE: Duration = Duration::from_secs(30);
        let body = outgoing(&[], 0, None);
        let begin = Instant::now();

        let slow_source = tokio::time::timeout(10 * IDLE, body.watch.stalled(IDLE)).await;
        body.watch.state().waiting_since = Some(Instant::now());
        body.watch.stalled(IDLE).await;

        assert!(slow_source.is_err());
        assert_eq!(begin.elapsed(), 11 * IDLE);
    }
}
