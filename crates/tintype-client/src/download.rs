//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`, and the bytes of it and of thumbnails.
//!
//! A connection that breaks before the end is an error, or rather a reason to ask for the rest: with `Range`, and with
//! `If-Range` where the server gave an entity tag. If the server sends the whole again, because it knows no ranges or
//! because the tag has changed (that of media that still arrives is not the final one), the beginning is read again and
//! compared by its hash: only if it is the same does the download go on.

use std::{fmt, io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};
use tintype_domain::{ContentHasher, Mxc};
use tintype_http::disposition;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::io::StreamReader;

use crate::{
    Client, Error, Event, MediaRequest,
    header::{content_range, strong_etag},
    media::Question,
    retry::Failures,
};

const PATH: &[&str] = &["_matrix", "client", "v1", "media", "download"];

impl Client {
    /// Asks for media; awaiting it gives its headers, and then its bytes.
    pub fn download(&self, mxc: &Mxc) -> MediaRequest {
        MediaRequest::new(self, PATH, mxc, Vec::new())
    }
}

/// Media on its way here.
pub struct Download {
    question: Question,
    /// The connection that it comes on; none after it broke.
    response: Option<Response>,
    /// What was given out so far, in bytes.
    at: u64,
    length: Option<u64>,
    etag: Option<String>,
    content_type: Option<String>,
    filename: Option<String>,
    /// What was given out so far, for comparison; none if it was not from here.
    received: Option<ContentHasher>,
    /// The beginning, if it comes again.
    beginning: Option<Beginning>,
    /// Where the present answer began, and whether the media ends with it.
    part: Part,
    failures: Failures,
    /// Not to ask again before.
    not_before: Option<Instant>,
    ended: bool,
}

struct Beginning {
    remaining: u64,
    hasher: ContentHasher,
}

#[derive(Clone, Copy)]
struct Part {
    start: u64,
    last: bool,
}

impl Download {
    /// Starts with this answer, of which the first `offset` bytes of the media are not wanted.
    pub(crate) fn begin(
        question: Question,
        offset: u64,
        etag: Option<String>,
        response: Response,
    ) -> Result<Self, Error> {
        let headers = response.headers();
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let named = headers.get(CONTENT_DISPOSITION).map(|value| disposition::parse(value.as_bytes()));
        let retry = question.client.shared.retry;
        let mut download = Self {
            question,
            response: None,
            at: offset,
            length: None,
            etag,
            content_type,
            filename: named.and_then(|named| named.filename),
            received: (offset == 0).then(ContentHasher::default),
            beginning: None,
            part: Part { start: offset, last: true },
            failures: Failures::none(retry),
            not_before: None,
            ended: false,
        };
        download.accept(response)?;
        Ok(download)
    }

    /// What it is called on the server.
    pub fn mxc(&self) -> &Mxc {
        &self.question.mxc
    }

    /// The type that the uploader gave, if it is text. Nobody has checked it.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The name that the uploader gave. It may hold path separators, control characters and anything else: it is for
    /// showing, and no path to write to.
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// The length of the whole in bytes, if it is known: media that still arrives may have none.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The entity tag, with its quotes, if the server gave a strong one: for
    /// [`continue_from`](MediaRequest::continue_from).
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// How much was given out, in bytes from the beginning of the media.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next bytes; `None` at the end. May be cancelled, and may be called again after an error that
    /// [is transient](Error::is_transient): then it goes on where it was.
    ///
    /// # Errors
    /// If the rest cannot be had. It ends without an error only where the media ends.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.ended {
            match self.advance().await {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {}
                Err(error) => {
                    (self.response, self.beginning) = (None, None);
                    let Some(pause) = self.failures.pause_after(&error) else { return Err(error) };
                    self.not_before = Some(Instant::now() + pause);
                    self.question.listener.tell(Event::Paused { error: &error, pause });
                }
            }
        }
        Ok(None)
    }

    /// All the bytes that are left, in memory.
    ///
    /// # Errors
    /// [`Error::TooLong`] if there are more than `limit`.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let too_long = |length: u64| length > limit as u64;
        let mut bytes = BytesMut::new();
        if self.length.is_some_and(|length| too_long(length.saturating_sub(self.at))) {
            return Err(Error::TooLong { limit: limit as u64 });
        }
        while let Some(piece) = self.chunk().await? {
            if too_long(bytes.len() as u64 + piece.len() as u64) {
                return Err(Error::TooLong { limit: limit as u64 });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// Writes all the bytes that are left; gives their number.
    ///
    /// # Errors
    /// [`Error::Sink`] if they cannot be written. What was written by then is not the whole.
    pub async fn copy_to(&mut self, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let from = self.at;
        while let Some(piece) = self.chunk().await? {
            sink.write_all(&piece).await.map_err(Error::Sink)?;
        }
        sink.flush().await.map_err(Error::Sink)?;
        Ok(self.at - from)
    }

    /// The bytes as a stream, which ends after its first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        stream::try_unfold(self, async |mut download| Ok(download.chunk().await?.map(|bytes| (bytes, download))))
    }

    /// The bytes as a reader. Its errors are [`io::Error`]s with an [`Error`] inside.
    pub fn into_reader(self) -> impl AsyncRead + Send + Unpin + 'static {
        StreamReader::new(self.into_stream().map_err(io::Error::other).boxed())
    }

    /// One step: the next bytes, or nothing if a connection was made or ended.
    async fn advance(&mut self) -> Result<Option<Bytes>, Error> {
        let idle = self.question.client.shared.idle;
        let Some(response) = &mut self.response else {
            self.ask_for_the_rest().await?;
            return Ok(None);
        };
        match next(response, idle).await? {
            Some(bytes) => {
                let bytes = self.beyond_the_beginning(bytes)?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                self.at += bytes.len() as u64;
                if self.length.is_some_and(|length| self.at > length) {
                    return Err(Error::Answer("there is more than its length says".to_owned()));
                }
                if let Some(received) = &mut self.received {
                    received.update(&bytes);
                }
                self.failures.forget();
                self.question.listener.tell(Event::Progress { at: self.at });
                Ok(Some(bytes))
            }
            None if self.beginning.is_some() => Err(Error::Changed),
            // What there was of media that still arrives.
            None if !self.part.last && self.at > self.part.start => {
                self.response = None;
                Ok(None)
            }
            None if !self.part.last || self.length.is_some_and(|length| self.at < length) => Err(Error::broken()),
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    async fn ask_for_the_rest(&mut self) -> Result<(), Error> {
        let paused = self.not_before.is_some();
        if let Some(until) = self.not_before {
            sleep_until(until).await;
            self.not_before = None;
        }
        let response = self.question.ask_again(self.at, self.etag.as_deref()).await?;
        self.accept(response)?;
        if paused {
            self.question.listener.tell(Event::Resumed { at: self.at });
        }
        Ok(())
    }

    /// Takes an answer for what follows position `at`.
    fn accept(&mut self, response: Response) -> Result<(), Error> {
        let headers = response.headers();
        let etag = strong_etag(headers);
        self.part = Part { start: self.at, last: true };
        match response.status() {
            StatusCode::OK => {
                if self.at > 0 {
                    // What came earlier, and not from here, cannot be compared.
                    self.received.as_ref().ok_or(Error::Changed)?;
                    self.beginning = Some(Beginning { remaining: self.at, hasher: ContentHasher::default() });
                }
                self.length = response.content_length();
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(headers).filter(|range| self.at > 0 && range.start == Some(self.at));
                let range =
                    range.ok_or_else(|| Error::Answer("it is another part than the one asked for".to_owned()))?;
                if differ(self.length, range.total) || differ(self.etag.as_ref(), etag.as_ref()) {
                    return Err(Error::Changed);
                }
                self.length = self.length.or(range.total);
                self.part.last = range.total.is_some();
            }
            // 416: nothing follows. That is the end only if the end is there.
            _ => {
                let total = content_range(headers).and_then(|range| range.total);
                if total != Some(self.at) || differ(self.length, total) {
                    return Err(Error::Changed);
                }
                self.length = total;
                self.ended = true;
            }
        }
        self.etag = etag.or(self.etag.take());
        self.response = Some(response);
        Ok(())
    }

    /// What is new in these bytes, after the beginning that was read again.
    fn beyond_the_beginning(&mut self, mut bytes: Bytes) -> Result<Bytes, Error> {
        let Some(beginning) = &mut self.beginning else { return Ok(bytes) };
        let known = bytes.split_to(usize::try_from(beginning.remaining).unwrap_or(usize::MAX).min(bytes.len()));
        beginning.hasher.update(&known);
        beginning.remaining -= known.len() as u64;
        if beginning.remaining == 0 {
            let again = self.beginning.take().map(|beginning| beginning.hasher.finish());
            if again != self.received.clone().map(ContentHasher::finish) {
                return Err(Error::Changed);
            }
        }
        Ok(bytes)
    }
}

async fn next(response: &mut Response, idle: Duration) -> Result<Option<Bytes>, Error> {
    Ok(timeout(idle, response.chunk()).await.map_err(|_| Error::timed_out())??)
}

/// Whether both are known and not the same.
fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("question", &self.question)
            .field("at", &self.at)
            .field("length", &self.length)
            .field("etag", &self.etag)
            .field("content_type", &self.content_type)
            .field("filename", &self.filename)
            .finish_non_exhaustive()
    }
}
