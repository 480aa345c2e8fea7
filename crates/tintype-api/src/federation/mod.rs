//! What other servers ask for: media of ours, and only of ours, with a signature that says who they are (server-server
//! API, "Content Repository"; MSC3916).

pub(crate) mod download;
pub(crate) mod thumbnail;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use tintype_domain::{Audience, Lifetime, MediaId, Mxc, OwnedServerName, Requester};
use tintype_federation::{MediaHead, MixedEncoder, SignedRequest, XMatrix};
use tintype_http::path::{decode_segment, segments};
use tintype_repository::{Asker, Caller, Content, GrowingContent};
use tintype_storage::blobs::BlobsError;

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    redirect::elsewhere,
    restrictions,
    serve::{PRIVATE, Pieces},
};

/// Who asks whom.
pub(crate) struct Asking {
    /// The server that signed the request.
    pub(crate) caller: Caller,
    /// The server of ours that it was sent to.
    pub(crate) destination: OwnedServerName,
}

impl Api {
    /// The server that makes the request. Lists and rates are asked before anything is looked up for it.
    ///
    /// # Errors
    /// 401 `M_UNAUTHORIZED` without a signature that holds, 403 for a server that is not spoken with, 404 for ourselves.
    pub(crate) async fn server(&self, head: &Head) -> Result<Asking, MatrixError> {
        let Head { request, trace } = head;
        let authorization = request.headers().get_all(header::AUTHORIZATION);
        let authorization = authorization.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        for header in &authorization {
            if let Ok(signature) = XMatrix::parse(header) {
                self.parts.repository.admit_server(&signature.origin, trace.address, trace.hop())?;
            }
        }
        let names = self.parts.tenants.iter().map(|tenant| tenant.server_name.clone()).collect::<Vec<_>>();
        // Without a destination it is whoever it was sent to; where that cannot be told nobody is, and it has to name one.
        let host = self.tenant(request).map_or(&names[0], |tenant| &tenant.server_name);
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let method = request.method().as_str();
        let signed = SignedRequest { method, target, authorization, names: &names, host };
        let authenticated = self.parts.federation.authenticate(&signed).await?;
        trace.server(&authenticated.origin);
        Ok(Asking {
            caller: Caller {
                requester: Requester::Server(authenticated.origin),
                address: trace.address,
                access: None,
                hop: trace.hop(),
            },
            destination: authenticated.destination,
        })
    }
}

impl Asking {
    /// The media that a path names: `…/media/{download,thumbnail}/{mediaId}`, of the server that was asked.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND` for a media ID outside the grammar.
    pub(crate) fn media(&self, uri: &Uri) -> Result<Mxc, MatrixError> {
        let id = segments(uri.path()).next_back().and_then(|segment| decode_segment(segment).ok());
        let media_id = id.and_then(|id| MediaId::parse(&id).ok()).ok_or_else(MatrixError::not_found)?;
        Ok(Mxc { server_name: self.destination.clone(), media_id })
    }
}

/// The bytes of an answer's second part, and their number if that is known.
pub(crate) enum Media {
    Known(Content, u64),
    Unknown(GrowingContent),
}

/// `multipart/mixed` with what is said of the media, and the media, or where it is: a server is never redirected as a
/// client is (MSC3916, part 6).
///
/// # Errors
/// [`BlobsError`] if the bytes cannot be read.
pub(crate) async fn mixed(
    api: &Api,
    lifetime: Lifetime,
    audience: &Audience,
    content_type: &HeaderValue,
    disposition: &HeaderValue,
    media: Media,
) -> Result<Response, BlobsError> {
    let encoder = MixedEncoder::new(&*api.parts.randomness);
    let length = match media {
        Media::Known(_, length) => Some(length),
        Media::Unknown(_) => None,
    };
    let mut metadata = api.parts.msc4425.metadata(lifetime);
    restrictions::describe(api.parts.msc3911, audience, &mut metadata);
    if let Media::Known(content, length) = &media {
        // What the URL is answered with is not to be kept on the way there either.
        let labels = [content_type, disposition, &PRIVATE];
        if let Some(there) = elsewhere(api, Asker::Server, (lifetime, audience), content, *length, labels).await {
            let body = encoder.location(&metadata, &there.url);
            let length = body.len() as u64;
            return Ok(answer(&encoder, Body::from(body), Some(length)));
        }
    }
    let head = encoder.head(
        &metadata,
        &MediaHead {
            content_type: Some(content_type.as_bytes().to_vec()),
            content_disposition: Some(disposition.as_bytes().to_vec()),
            content_length: length,
            location: None,
        },
    );
    let bytes = match media {
        Media::Known(content, length) => content.range(0..length).await?,
        Media::Unknown(content) => content.range(0, None),
    };
    let remaining = length.map(|length| head.len() as u64 + length + encoder.tail().len() as u64);
    let body = Pieces::new([head.into(), bytes, encoder.tail().into()], remaining);
    Ok(answer(&encoder, Body::new(body), remaining))
}

fn answer(encoder: &MixedEncoder, body: Body, length: Option<u64>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, encoder.content_type());
    // Nobody on the way may answer the next one, who has to sign as well.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    response
}
