//! Reading an object: its bytes are passed on as they come, and no faster than they are taken.
//!
//! One request gets them all. If the store breaks off in the middle, which it may do to a slow reader as well, the rest is
//! asked for: an object never changes. What is kept near is not asked for at all.

use std::{
    ops::Range,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use opendal::BufferStream;
use tokio::time::sleep;

use super::{Object, error::blobs_error};
use crate::blobs::BlobsError;

/// How often an answer may break off before any more of it came.
const BREAKS: u32 = 3;

/// The pause before the rest is asked for.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes of an object, in order. Ends with an error if there are fewer than the range has.
pub struct ObjectStream {
    /// What was read while it was opened.
    first: Option<Result<Bytes, BlobsError>>,
    rest: Pin<Box<dyn Stream<Item = Result<Bytes, BlobsError>> + Send>>,
}

impl ObjectStream {
    /// Asks for nothing before it is polled.
    pub(super) fn new(object: Object, range: Range<u64>) -> Self {
        let may_be_near = object.lasting.is_some();
        let reader = Reader { object, at: range.start, end: range.end, answer: None, breaks: 0, may_be_near };
        let rest = stream::unfold(reader, async |mut reader| {
            let piece = reader.next().await?;
            Some((piece, reader))
        });
        Self { first: None, rest: Box::pin(rest.fuse()) }
    }

    /// Waits for the first of its bytes, and keeps them.
    pub(super) async fn begin(mut self) -> Result<Self, BlobsError> {
        self.first = self.rest.next().await.map(|first| first.map(Some)).transpose()?.flatten().map(Ok);
        Ok(self)
    }
}

impl Stream for ObjectStream {
    type Item = Result<Bytes, BlobsError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.rest.as_mut().poll_next(context),
        }
    }
}

impl std::fmt::Debug for ObjectStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ObjectStream")
    }
}

struct Reader {
    object: Object,
    at: u64,
    end: u64,
    answer: Option<BufferStream>,
    breaks: u32,
    /// It was not looked yet whether it is kept near.
    may_be_near: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, BlobsError>> {
        if std::mem::take(&mut self.may_be_near)
            && let Some(bytes) = self.near().await
        {
            return Some(Ok(bytes));
        }
        while self.at < self.end {
            let has_begun = self.answer.is_some();
            match self.read().await {
                Ok(Some(bytes)) => {
                    self.breaks = 0;
                    self.at += bytes.len() as u64;
                    return Some(Ok(bytes));
                }
                Ok(None) => {
                    let path = PathBuf::from(self.object.location.as_str());
                    return Some(self.fail(BlobsError::Truncated(path)));
                }
                // What does not begin at all was tried again already.
                Err(error) if has_begun && error.is_temporary() && self.breaks < BREAKS => {
                    self.breaks += 1;
                    self.answer = None;
                    sleep(PAUSE * self.breaks).await;
                }
                Err(error) => {
                    let error = blobs_error(&error, Some(&self.object.location));
                    return Some(self.fail(error));
                }
            }
        }
        None
    }

    /// All that is wanted, of what is kept near.
    async fn near(&mut self) -> Option<Bytes> {
        let bytes = self.object.near().await?;
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (start, end) = (index(self.at), index(self.end));
        let wanted = (start < end && end <= bytes.len()).then(|| bytes.slice(start..end))?;
        self.at = self.end;
        Some(wanted)
    }

    async fn read(&mut self) -> opendal::Result<Option<Bytes>> {
        let answer = match &mut self.answer {
            Some(answer) => answer,
            none => none.insert(self.object.get(self.at..self.end).await?),
        };
        let Some(piece) = answer.next().await else { return Ok(None) };
        let mut bytes = piece?.to_bytes();
        // A store that gives more than was asked for is not believed.
        bytes.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Nothing comes after an error.
    fn fail(&mut self, error: BlobsError) -> Result<Bytes, BlobsError> {
        self.end = self.at;
        Err(error)
    }
}
