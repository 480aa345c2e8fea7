//! Media as an HTTP answer: conditions, ranges, and the headers that make foreign bytes safe to show.
//!
//! RFC 9110 decides what a condition or a range means (see `tintype-http`); the client-server API, "Serving media",
//! decides the security headers. The same function serves downloads and thumbnails, whole or in part.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tintype_domain::{Audience, ContentHash, Lifetime, Randomness};
use tintype_http::{
    byteranges::{Boundary, MultipartByteranges},
    conditional::{ETag, Precondition, evaluate, range_applies},
    range::{ByteRange, Ranges, unsatisfied_content_range},
};
use tintype_repository::{Content, GrowingContent, MediaContent};
use tintype_storage::blobs::BlobsError;

use crate::{edge::CORS, error::MatrixError};

/// Media that is still arriving, since nobody is to keep what may turn out to be a stump; and ephemeral media, since nobody
/// is to keep what may be deleted at any moment (MSC4425).
pub(crate) const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// Authenticated media: kept by the client that asked, and nobody on the way.
pub(crate) const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=86400");

/// Media that is attached to an event or a profile (MSC3911): the client may keep it, and asks each time whether it may
/// still show it.
const ASKED_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Media on the deprecated endpoints, which anybody may have: shared caches ask again each time.
pub(crate) const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=86400, s-maxage=0, proxy-revalidate");

/// What every answer with media has: copied from here rather than put together each time.
///
/// Client-server API, "Serving media": foreign content runs nothing and embeds nothing. No cache of a search engine keeps
/// it, and no page that it links to learns where it was shown.
static COMMON: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::with_capacity(32);
    headers.extend(CORS);
    for (name, value) in [
        (header::ACCEPT_RANGES, "bytes"),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; \
             media-src 'self'; object-src 'self';",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow, noarchive, noimageindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
});

/// What every answer about media has, whatever it is.
pub(crate) fn common_headers() -> &'static HeaderMap {
    &COMMON
}

/// Something to serve.
pub(crate) struct Representation {
    pub(crate) source: Source,
    pub(crate) etag: ETag,
    pub(crate) content_type: HeaderValue,
    pub(crate) disposition: HeaderValue,
    pub(crate) cache_control: HeaderValue,
}

/// What the bytes of a representation are, as far as that is known.
pub(crate) enum Source {
    /// All of them are there, or will be: so many.
    Known(Content, u64),
    /// They are arriving, and nobody knows how many there will be. Those of the part that was asked for are there.
    Unknown(GrowingContent, Option<ByteRange>),
}

/// How long media may be kept by clients and on the way: as said, unless it may be gone, or hidden, at any moment.
pub(crate) fn cache_control(lifetime: Lifetime, audience: &Audience, otherwise: HeaderValue) -> HeaderValue {
    match audience {
        _ if lifetime.is_ephemeral() => NOT_KEPT,
        Audience::Everyone => otherwise,
        Audience::Event(_) | Audience::Profile(_) => ASKED_AGAIN,
        Audience::Uploader | Audience::Attaching | Audience::Nobody => NOT_KEPT,
    }
}

/// The entity tag of bytes with this hash.
pub(crate) fn entity_tag(sha256: &ContentHash) -> ETag {
    ETag::new(&sha256.to_base64()).expect("base64 is allowed in an entity tag")
}

/// The answer to this `GET` or `HEAD`. Its bytes have begun to be read when there is one: what is not there, or cannot be
/// reached, is an error here, and not an answer that breaks off.
pub(crate) async fn respond(
    request: &Request<()>,
    representation: &Representation,
    randomness: &dyn Randomness,
) -> Result<Response, BlobsError> {
    let conditions = request.headers();
    let etag = &representation.etag;
    match evaluate(conditions, etag) {
        Precondition::Proceed => {}
        Precondition::NotModified => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            let headers = response.headers_mut();
            headers.insert(header::ETAG, etag.header_value());
            headers.insert(header::CACHE_CONTROL, representation.cache_control.clone());
            return Ok(response);
        }
        Precondition::Failed => {
            let error = "The media is not the one that If-Match names";
            return Ok(MatrixError::new(StatusCode::PRECONDITION_FAILED, "M_UNKNOWN", error).into_response());
        }
    }
    let (content, size) = match &representation.source {
        Source::Known(content, size) => (content, *size),
        Source::Unknown(content, range) => {
            let mut response = arriving(content, *range);
            describe(response.headers_mut(), representation);
            return Ok(response);
        }
    };
    // RFC 9110, section 14.2: a Range counts for GET only.
    let ranges = if request.method() == Method::GET && range_applies(conditions, etag) {
        Ranges::requested(conditions, size)
    } else {
        Ranges::Whole
    };
    let mut response = match ranges {
        Ranges::Whole => part(request.method(), content, 0..size).await?,
        Ranges::One(range) => {
            let mut response = part(request.method(), content, range.start()..range.end()).await?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(header::CONTENT_RANGE, range.content_range(size));
            response
        }
        Ranges::Many(ranges) => {
            let mut random = [0; 16];
            randomness.fill(&mut random);
            let content_type = representation.content_type.as_bytes();
            let parts = MultipartByteranges::new(Boundary::from_random(random), content_type, ranges, size);
            parts_of(content, &parts).await?
        }
        Ranges::Unsatisfiable => {
            let error = "The range begins after the end of the media";
            return Ok(MatrixError::new(StatusCode::RANGE_NOT_SATISFIABLE, "M_UNKNOWN", error)
                .with_header(header::CONTENT_RANGE, unsatisfied_content_range(size))
                .with_header(header::ETAG, etag.header_value())
                .into_response());
        }
    };
    describe(response.headers_mut(), representation);
    Ok(response)
}

async fn part(method: &Method, content: &Content, range: std::ops::Range<u64>) -> Result<Response, BlobsError> {
    let length = range.end - range.start;
    let body = if method == Method::HEAD {
        // Nobody reads it, so nothing is asked of the store.
        Body::empty()
    } else {
        match content.range(range).await? {
            MediaContent::Memory(bytes) => Body::from(bytes),
            stream => Body::new(Pieces::new([stream], Some(length))),
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.clone_from(&COMMON);
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response)
}

async fn parts_of(content: &Content, parts: &MultipartByteranges) -> Result<Response, BlobsError> {
    let mut pieces = VecDeque::with_capacity(2 * parts.ranges().len() + 1);
    for (index, range) in parts.ranges().iter().enumerate() {
        pieces.push_back(MediaContent::Memory(parts.part_head(index)));
        let range = range.start()..range.end();
        // The first one tells whether they are there; the others wait until it is their turn.
        pieces.push_back(if index == 0 { content.range(range).await? } else { content.range_later(range) });
    }
    pieces.push_back(MediaContent::Memory(parts.tail()));
    let mut response = Response::new(Body::new(Pieces::new(pieces, Some(parts.content_length()))));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.clone_from(&COMMON);
    headers.insert(header::CONTENT_LENGTH, parts.content_length().into());
    headers.insert(header::CONTENT_TYPE, parts.content_type());
    Ok(response)
}

/// What is arriving, without a length: to its end, whenever that comes, or a part that is there.
fn arriving(content: &GrowingContent, range: Option<ByteRange>) -> Response {
    let stream = match range {
        Some(range) => content.range(range.start(), Some(range.end())),
        None => content.range(0, None),
    };
    let remaining = range.map(ByteRange::length);
    let mut response = Response::new(Body::new(Pieces::new([stream], remaining)));
    response.headers_mut().clone_from(&COMMON);
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, range.length().into());
        headers.insert(header::CONTENT_RANGE, range.content_range_of_unknown_length());
    }
    response
}

fn describe(headers: &mut HeaderMap, representation: &Representation) {
    headers.entry(header::CONTENT_TYPE).or_insert_with(|| representation.content_type.clone());
    headers.insert(header::ETAG, representation.etag.header_value());
    headers.insert(header::CONTENT_DISPOSITION, representation.disposition.clone());
    headers.insert(header::CACHE_CONTROL, representation.cache_control.clone());
}

/// A body of several pieces, one after the other.
pub(crate) struct Pieces {
    pieces: VecDeque<MediaContent>,
    /// Bytes that are still to come, if that is known.
    remaining: Option<u64>,
}

impl Pieces {
    /// These pieces, of so many bytes together, if that is known.
    pub(crate) fn new(pieces: impl Into<VecDeque<MediaContent>>, remaining: Option<u64>) -> Self {
        Self { pieces: pieces.into(), remaining }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BlobsError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobsError>>> {
        while let Some(piece) = self.pieces.front_mut() {
            match ready!(piece.poll_bytes(context)) {
                Some(Ok(bytes)) => {
                    let sent = bytes.len() as u64;
                    self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(sent));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => drop(self.pieces.pop_front()),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
