//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}]`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, Version},
    response::Response,
};
use tintype_domain::Mxc;
use tintype_http::query::Query;
use tintype_http::{
    conditional::{ETag, range_applies},
    disposition::{disposition_for, format},
    range::{ByteRange, requested_of_unknown_length},
};
use tintype_repository::{
    Arriving, Caller, Content, DownloadRequest, FromOrigin, Misses, OpenError, Opened, OpenedArriving, RedactedMedia,
    Wanted,
};

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    media_path::MediaPath,
    outcome::Outcome,
    patience::Patience,
    redirect::{Redirects, redirect},
    relay::{Place, answer_of_node},
    serve::{NOT_KEPT, PRIVATE, Representation, Source, cache_control, entity_tag, respond},
};

/// Segments before the server name.
const FIXED: usize = 5;

/// Serves media to a user.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller(&head).await?;
    let path = MediaPath::parse(head.request.uri(), FIXED)?;
    download(&api, &caller, path, &head, FromOrigin::Fetched, PRIVATE, Redirects::Expected).await
}

/// Serves media to any caller: what is stored, what is arriving, and what arrives before the caller's patience ends.
pub(crate) async fn download(
    api: &Api,
    caller: &Caller,
    path: MediaPath,
    head: &Head,
    from_origin: FromOrigin,
    otherwise: HeaderValue,
    redirects: Redirects,
) -> Result<Response, MatrixError> {
    let patience = Patience::of(head)?;
    let wanted = wanted(head);
    let redacted = redacted_media(head.request.uri().query())?;
    let request = DownloadRequest { wanted, patience: patience.time, from_origin, redacted };
    let mut opened = api.parts.repository.open(caller, &path.mxc, request).await;
    let mut misses = Misses::default();
    loop {
        let mut stored = api.parts.clock.now();
        let found = match here_or_there(api, caller, &path.mxc, head, request, opened).await {
            Ok(Place::Here(found)) => found,
            Ok(Place::There(answer)) => return Ok(answer),
            Err(error) => return Err(patience.refusal(error.into())),
        };
        let representation = match found {
            Opened::Stored(media) => {
                let record = media.record();
                stored = record.created_at;
                let representation = Representation {
                    etag: entity_tag(&record.sha256),
                    content_type: content_type(&record.content_type),
                    disposition: disposition(&path, &record.content_type, record.filename.as_deref()),
                    cache_control: cache_control(record.lifetime, &record.audience, otherwise.clone()),
                    source: Source::Known(media.content.clone(), record.size),
                };
                let whose = (record.lifetime, &record.audience);
                if let Some(elsewhere) = redirect(api, &head.request, redirects, whose, &representation).await {
                    return Ok(Outcome::Served { stored }.noted(elsewhere));
                }
                representation
            }
            Opened::Arriving(opened) => {
                let Arriving { content_type: declared, filename, attempt, .. } = &*opened.arriving;
                let etag = ETag::new(&format!("arriving-{attempt:016x}")).expect("letters and digits are allowed");
                let source = Box::pin(arriving(api, &opened, &head.request, &etag)).await;
                Representation {
                    content_type: content_type(declared),
                    disposition: disposition(&path, declared, filename.as_deref()),
                    cache_control: NOT_KEPT,
                    source: source.map_err(|error| patience.refusal(error.into()))?,
                    etag,
                }
            }
        };
        match respond(&head.request, &representation, &*api.parts.randomness).await {
            Ok(response) => return Ok(Outcome::Served { stored }.noted(response)),
            Err(error) => {
                let missing = misses.next(error)?;
                opened = Box::pin(api.parts.repository.open_again(caller, &path.mxc, request, missing)).await;
            }
        }
    }
}

/// What of the media has to be there. The end of an answer without a length is the end of the connection in HTTP/1.0: a stump
/// would look whole.
pub(crate) fn wanted(head: &Head) -> Wanted {
    match head.trace.relayed {
        Some(relayed) => relayed.wanted,
        None if head.request.version() < Version::HTTP_11 => Wanted::Whole,
        None => Wanted::Beginning,
    }
}

/// Media for the caller, or the answer of the node that it is at.
pub(crate) async fn here_or_there(
    api: &Api,
    caller: &Caller,
    mxc: &Mxc,
    head: &Head,
    request: DownloadRequest,
    mut opened: Result<Opened, OpenError>,
) -> Result<Place<Opened>, OpenError> {
    let repository = &api.parts.repository;
    loop {
        let elsewhere = match opened {
            Err(OpenError::Elsewhere(elsewhere)) if head.trace.relayed.is_none() => elsewhere,
            opened => return opened.map(Place::Here),
        };
        if let Some(answer) = Box::pin(answer_of_node(api, head, request.wanted, &elsewhere)).await {
            return Ok(Place::There(answer));
        }
        opened = Box::pin(repository.open_after(caller, mxc, request, &elsewhere)).await;
    }
}

/// Whether media is wanted although its event was redacted (`allow_redacted_media`, MSC3911).
fn redacted_media(query: Option<&str>) -> Result<RedactedMedia, MatrixError> {
    const NAME: &str = "allow_redacted_media";
    if !query.is_some_and(|query| query.contains(NAME)) {
        return Ok(RedactedMedia::Hidden);
    }
    let wanted = Query::parse(query)?.bool(NAME)?;
    Ok(if wanted == Some(true) { RedactedMedia::Wanted } else { RedactedMedia::Hidden })
}

/// The bytes of media that is arriving. Where nobody knows how many there will be, a range gets what has arrived of it,
/// and waits for its first byte.
async fn arriving(api: &Api, opened: &OpenedArriving, request: &Request<()>, etag: &ETag) -> Result<Source, OpenError> {
    let content = opened.content.clone();
    if let Some(length) = content.length() {
        return Ok(Source::Known(Content::Growing(content), length));
    }
    let Some(wanted) = range_of_unknown_length(request.method(), request.headers(), etag) else {
        return Ok(Source::Unknown(content, None));
    };
    if api.parts.repository.arrives(opened, wanted.start()).await {
        let there = ByteRange::new(wanted.start(), wanted.end().min(content.arrived()));
        return Ok(Source::Unknown(content, there));
    }
    match content.length_of_whole() {
        Some(length) => Ok(Source::Known(Content::Growing(content), length)),
        None => Err(OpenError::NotYetUploaded),
    }
}

fn range_of_unknown_length(method: &Method, headers: &HeaderMap, etag: &ETag) -> Option<ByteRange> {
    let counts = method == Method::GET && range_applies(headers, etag);
    if counts { requested_of_unknown_length(headers) } else { None }
}

pub(crate) fn content_type(declared: &[u8]) -> HeaderValue {
    // It came in as a header's value, so it is one.
    HeaderValue::from_bytes(declared).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn disposition(path: &MediaPath, content_type: &[u8], uploaded: Option<&str>) -> HeaderValue {
    format(disposition_for(content_type), path.filename.as_deref().or(uploaded))
}
