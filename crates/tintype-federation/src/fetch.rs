//! One fetch: the authenticated endpoint first, the old ones if the origin does not know it, and wherever they point to.
//!
//! What comes out is a stream of the media's own bytes, whatever it was wrapped in. It ends well only if the origin said
//! everything: a multipart body its delimiter after the second part, every other one its length or its last chunk.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Map;
use tintype_http::disposition;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::{
    Federation, FetchError, MixedDecoder, MixedError, MixedEvent, Question, QuestionKind, RemoteBody, RemoteMedia,
    authorization,
};

/// What is read of an answer that is only an error.
const MAX_ERROR: usize = 64 * 1024;

/// The longest that a server may have itself left alone for after too many questions: our clients are told so, too.
const LONGEST_RETRY: Duration = Duration::from_mins(10);

/// What may stand in a query value or a path segment as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long a fetch may take.
#[derive(Debug, Clone, Copy)]
pub struct FetchTimes {
    /// Until the answer begins, beyond what the origin was asked to wait.
    pub answer: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

/// An error as other servers word it.
#[derive(Deserialize)]
struct MatrixError {
    errcode: String,
    /// Where servers say when to come again that do not say it in a header yet.
    retry_after_ms: Option<u64>,
}

/// A refusal that may mean that the endpoint is not known there.
struct Refusal {
    status: StatusCode,
    errcode: Option<String>,
    retry_after: Option<Duration>,
}

impl Federation {
    /// Asks the origin for its media. Returns when the first byte of it can be read.
    ///
    /// Without a signing key for the asker only the old endpoints are asked.
    ///
    /// # Errors
    /// A [`FetchError`].
    pub async fn fetch(&self, question: &Question<'_>) -> Result<RemoteMedia, FetchError> {
        let origin = &question.mxc.server_name;
        if !self.0.peers.include(origin) {
            return Err(FetchError::NotAPeer);
        }
        let end = Instant::now() + self.0.times.total;
        if let Some(key) = self.0.signing_keys.get(question.asker) {
            let target = federation_target(question);
            let signature = authorization(key, question.asker, origin, "GET", &target)
                .map_err(|error| FetchError::Malformed(error.to_string()))?;
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, signature)]);
            let response = self.ask(question, &target, headers, end).await?;
            if response.status() == StatusCode::OK {
                return self.mixed(response, end).await;
            }
            let refusal = self.refusal(response, end).await;
            if !refusal.is_unrecognized() {
                return Err(refusal.into_error(question.kind));
            }
            tracing::debug!(%origin, "the origin knows no authenticated media; the old endpoint is asked");
        }
        let response = self.ask(question, &legacy_target(question), HeaderMap::new(), end).await?;
        match response.status() {
            StatusCode::OK => self.plain(response, end),
            // It was told that it may redirect (client-server API, `allow_redirect`).
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                let location = text(response.headers(), header::LOCATION).map(str::to_owned);
                self.elsewhere(location.as_deref(), end).await
            }
            _ => Err(self.refusal(response, end).await.into_error(question.kind)),
        }
    }

    async fn ask(
        &self,
        question: &Question<'_>,
        target: &str,
        headers: HeaderMap,
        end: Instant,
    ) -> Result<Response<Incoming>, FetchError> {
        let patience = (self.0.times.answer + question.patience).min(left(end));
        Ok(self.0.outbound.get(&question.mxc.server_name, target, headers, patience).await?)
    }

    /// `multipart/mixed` up to the first byte of the media.
    async fn mixed(&self, response: Response<Incoming>, end: Instant) -> Result<RemoteMedia, FetchError> {
        check_encoding(response.headers())?;
        let content_type = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let decoder = MixedDecoder::new(content_type)?;
        let mut body = Mixed { decoder, body: Some(self.received(response, end)) };
        let mut metadata = Map::new();
        let media = loop {
            match body.event().await? {
                Some(MixedEvent::Metadata(found)) => metadata = found,
                Some(MixedEvent::Media(media)) => break media,
                Some(MixedEvent::Data(_) | MixedEvent::End) | None => {
                    return Err(FetchError::Malformed("it ends before its second part".to_owned()));
                }
            }
        };
        if let Some(location) = media.location {
            // Whatever else it says, the rest of it would only be thrown away.
            drop(body);
            let found = self.elsewhere(Some(&location), end).await?;
            return Ok(RemoteMedia { metadata, ..found });
        }
        Ok(RemoteMedia {
            content_type: media.content_type,
            filename: media.content_disposition.and_then(|value| disposition::parse(&value).filename),
            content_length: media.content_length,
            metadata,
            body: RemoteBody::new(stream::unfold(Some(body), async |body| {
                let mut body = body?;
                match body.event().await {
                    Ok(Some(MixedEvent::Data(bytes))) => Some((Ok(bytes), Some(body))),
                    Ok(Some(MixedEvent::End) | None) => None,
                    Ok(Some(_)) => Some((Err(FetchError::Malformed("it has more than two parts".to_owned())), None)),
                    Err(error) => Some((Err(error), None)),
                }
            })),
        })
    }

    /// Where the origin says that its media is: a URL that anybody may ask (server-server API, "Content Repository").
    async fn elsewhere(&self, location: Option<&str>, end: Instant) -> Result<RemoteMedia, FetchError> {
        let malformed = |what: &str| FetchError::Malformed(format!("{what} in its Location"));
        let url = Url::parse(location.ok_or_else(|| malformed("there is no text"))?);
        let url = url.map_err(|_| malformed("there is no absolute URL"))?;
        let response = self.0.outbound.get_web(&url, self.0.times.answer.min(left(end))).await?;
        match response.status() {
            StatusCode::OK => self.plain(response, end),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::NotFound),
            status => Err(FetchError::Refused { status: status.as_u16(), errcode: None }),
        }
    }

    /// A body that is the media.
    fn plain(&self, response: Response<Incoming>, end: Instant) -> Result<RemoteMedia, FetchError> {
        let headers = response.headers();
        check_encoding(headers)?;
        let content_length = response.body().size_hint().exact();
        let codings = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
        let is_chunked = codings.collect::<Vec<_>>() == [b"chunked"];
        if content_length.is_none() && !is_chunked {
            // The end of the connection would be the end of the media, and a break would look like it.
            return Err(FetchError::Malformed("it says neither how long it is nor where it ends".to_owned()));
        }
        let value = |name| headers.get(name).map(HeaderValue::as_bytes);
        let content_type = value(header::CONTENT_TYPE).map(<[u8]>::to_vec);
        let filename = value(header::CONTENT_DISPOSITION).and_then(|value| disposition::parse(value).filename);
        let body = stream::unfold(Some(self.received(response, end)), async |received| {
            let mut received = received?;
            match received.chunk().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(received))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(RemoteMedia { content_type, filename, content_length, metadata: Map::new(), body: RemoteBody::new(body) })
    }

    fn received(&self, response: Response<Incoming>, end: Instant) -> Received {
        Received { body: response.into_body(), idle: self.0.times.idle, end }
    }

    /// What an answer without media says: its status, and what can be had of the rest in the time of an answer.
    async fn refusal(&self, response: Response<Incoming>, end: Instant) -> Refusal {
        let status = response.status();
        let retry_after = text(response.headers(), header::RETRY_AFTER).and_then(|text| text.parse().ok());
        let end = end.min(Instant::now() + self.0.times.answer);
        let error = self.received(response, end).whole(MAX_ERROR).await;
        let error = error.ok().and_then(|body| serde_json::from_slice::<MatrixError>(&body).ok());
        let milliseconds = error.as_ref().and_then(|error| error.retry_after_ms);
        let retry_after = retry_after.map(Duration::from_secs).or(milliseconds.map(Duration::from_millis));
        let retry_after = retry_after.map(|time| time.min(LONGEST_RETRY));
        Refusal { status, errcode: error.map(|error| error.errcode), retry_after }
    }
}

impl Refusal {
    /// Whether the endpoint is not known there: as the specification says it, as Synapse once said it, and as whatever
    /// stands in front of a server says it.
    fn is_unrecognized(&self) -> bool {
        match self.errcode.as_deref() {
            Some("M_UNRECOGNIZED") => matches!(self.status.as_u16(), 400 | 404 | 405),
            Some(_) => false,
            None => matches!(self.status.as_u16(), 404 | 405),
        }
    }

    fn into_error(self, kind: QuestionKind) -> FetchError {
        let Self { status, errcode, retry_after } = self;
        match (status.as_u16(), errcode.as_deref()) {
            (404, _) => FetchError::NotFound,
            (504, Some("M_NOT_YET_UPLOADED")) => FetchError::NotYetUploaded,
            (413, _) | (502, Some("M_TOO_LARGE")) => FetchError::TooLarge,
            (429, _) => FetchError::RateLimited { retry_after },
            (400, _) if kind != QuestionKind::Download => FetchError::NoThumbnail,
            (status, _) => FetchError::Refused { status, errcode },
        }
    }
}

/// A multipart body, read as its parts.
struct Mixed {
    decoder: MixedDecoder,
    /// What is still to come of it.
    body: Option<Received>,
}

impl Mixed {
    async fn event(&mut self) -> Result<Option<MixedEvent>, FetchError> {
        loop {
            match self.decoder.next_event()? {
                // The end counts when the whole body is there, and is what it should be.
                Some(MixedEvent::End) | None => {}
                event => return Ok(event),
            }
            let Some(received) = &mut self.body else { return Ok(None) };
            if let Some(bytes) = received.chunk().await? {
                self.decoder.push(bytes);
            } else {
                self.body = None;
                self.decoder.finish();
            }
        }
    }
}

impl From<MixedError> for FetchError {
    fn from(error: MixedError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A body that has to keep coming.
struct Received {
    body: Incoming,
    idle: Duration,
    end: Instant,
}

impl Received {
    /// The next bytes; none at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let pause_ends = Instant::now() + self.idle;
            let frame = timeout_at(self.end.min(pause_ends), self.body.frame()).await;
            let reason = if self.end < pause_ends { "it took too long" } else { "nothing came for too long" };
            let frame = frame.map_err(|_| FetchError::BrokenOff(reason.to_owned()))?;
            match frame.transpose().map_err(|error| FetchError::BrokenOff(chain(&error)))? {
                None => return Ok(None),
                Some(frame) => {
                    // Trailers say nothing of media.
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// All of it, if it is not longer than this.
    async fn whole(mut self, limit: usize) -> Result<Bytes, FetchError> {
        let mut body = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if body.len() + bytes.len() > limit {
                return Err(FetchError::Malformed("it is too long".to_owned()));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body.freeze())
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// No coding was asked for: what comes in one would be kept and passed on as it is, and nobody unpacks what a stranger
/// has packed. Nor is there one for the way alone but chunks: what comes in another one ends with the connection, whether
/// it is whole or not.
fn check_encoding(headers: &HeaderMap) -> Result<(), FetchError> {
    let are_all = |name: HeaderName, allowed: &[u8]| {
        headers.get_all(name).iter().all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(allowed))
    };
    if are_all(header::CONTENT_ENCODING, b"identity") && are_all(header::TRANSFER_ENCODING, b"chunked") {
        Ok(())
    } else {
        Err(FetchError::Malformed("it is packed, and nobody asked for that".to_owned()))
    }
}

/// How long it is until then.
fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// `GET /_matrix/federation/v1/media/{download,thumbnail}/{mediaId}`
fn federation_target(question: &Question<'_>) -> String {
    let Question { mxc, kind, .. } = question;
    let endpoint = endpoint(*kind);
    format!("/_matrix/federation/v1/media/{endpoint}/{}?{}", mxc.media_id, query(question))
}

/// `GET /_matrix/media/v3/{download,thumbnail}/{serverName}/{mediaId}`: not to be fetched from anywhere else, and from
/// wherever its bytes may be.
fn legacy_target(question: &Question<'_>) -> String {
    let Question { mxc, kind, .. } = question;
    let endpoint = endpoint(*kind);
    let server = utf8_percent_encode(mxc.server_name.as_str(), ENCODED);
    let query = query(question);
    format!("/_matrix/media/v3/{endpoint}/{server}/{}?{query}&allow_remote=false&allow_redirect=true", mxc.media_id)
}

fn endpoint(kind: QuestionKind) -> &'static str {
    match kind {
        QuestionKind::Download => "download",
        QuestionKind::Thumbnail { .. } => "thumbnail",
    }
}

fn query(question: &Question<'_>) -> String {
    let timeout = question.patience.as_millis();
    match question.kind {
        QuestionKind::Download => format!("timeout_ms={timeout}"),
        QuestionKind::Thumbnail { width, height, method } => {
            format!("width={width}&height={height}&method={method}&animated=false&timeout_ms={timeout}")
        }
    }
}
