//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::HeaderValue, response::Response};
use tintype_domain::Mxc;
use tintype_http::{
    disposition::{Disposition, format},
    query::{Query, QueryError},
};
use tintype_repository::{Caller, FromOrigin, Misses, OpenedThumbnail, ThumbnailRequest, ThumbnailsError, Wanted};
use tintype_thumbnails::{Dimensions, Method};

use crate::{
    Api,
    edge::Head,
    error::MatrixError,
    media_path::MediaPath,
    outcome::Outcome,
    patience::Patience,
    redirect::{Redirects, redirect},
    relay::{Place, answer_of_node},
    serve::{PRIVATE, Representation, Source, cache_control, entity_tag, respond},
};

/// Segments before the server name.
const FIXED: usize = 5;

/// Serves a thumbnail to a user.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller(&head).await?;
    let path = MediaPath::parse(head.request.uri(), FIXED)?;
    thumbnail(&api, &caller, path, &head, FromOrigin::Fetched, PRIVATE, Redirects::Expected).await
}

/// Serves a thumbnail to any caller.
pub(crate) async fn thumbnail(
    api: &Api,
    caller: &Caller,
    path: MediaPath,
    head: &Head,
    from_origin: FromOrigin,
    otherwise: HeaderValue,
    redirects: Redirects,
) -> Result<Response, MatrixError> {
    let query = head.request.uri().query();
    let wanted = thumbnail_request(query)?;
    let patience = Patience::of(head)?;
    let (repository, mxc) = (&api.parts.repository, &path.mxc);
    let mut opened = repository.thumbnail(caller, mxc, wanted, patience.time, from_origin).await;
    let asked = Asked { wanted, patience: patience.time, from_origin };
    let mut misses = Misses::default();
    loop {
        let thumbnail = match here_or_there(api, caller, mxc, head, asked, opened).await {
            Ok(Place::Here(thumbnail)) => thumbnail,
            Ok(Place::There(answer)) => return Ok(answer),
            Err(error) => return Err(patience.refusal(error.into())),
        };
        let representation = Representation {
            etag: entity_tag(&thumbnail.sha256),
            content_type: HeaderValue::from_static(thumbnail.content_type),
            disposition: disposition(thumbnail.content_type),
            cache_control: cache_control(thumbnail.lifetime, &thumbnail.audience, otherwise.clone()),
            source: Source::Known(thumbnail.content, thumbnail.size),
        };
        let whose = (thumbnail.lifetime, &thumbnail.audience);
        if let Some(elsewhere) = redirect(api, &head.request, redirects, whose, &representation).await {
            return Ok(Outcome::Served { stored: thumbnail.created_at }.noted(elsewhere));
        }
        match respond(&head.request, &representation, &*api.parts.randomness).await {
            Ok(response) => return Ok(Outcome::Served { stored: thumbnail.created_at }.noted(response)),
            Err(error) => {
                let missing = misses.next(error)?;
                opened = repository.thumbnail_again(caller, mxc, wanted, patience.time, from_origin, missing).await;
            }
        }
    }
}

/// What is asked of a thumbnail.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) wanted: ThumbnailRequest,
    pub(crate) patience: Duration,
    pub(crate) from_origin: FromOrigin,
}

/// A thumbnail for the caller, or the answer of the node that it is made at.
pub(crate) async fn here_or_there(
    api: &Api,
    caller: &Caller,
    mxc: &Mxc,
    head: &Head,
    asked: Asked,
    mut found: Result<OpenedThumbnail, ThumbnailsError>,
) -> Result<Place<OpenedThumbnail>, ThumbnailsError> {
    let (repository, Asked { wanted, patience, from_origin }) = (&api.parts.repository, asked);
    loop {
        let elsewhere = match found {
            Err(ThumbnailsError::Elsewhere(elsewhere)) if head.trace.relayed.is_none() => elsewhere,
            found => return found.map(Place::Here),
        };
        if let Some(answer) = Box::pin(answer_of_node(api, head, Wanted::Whole, &elsewhere)).await {
            return Ok(Place::There(answer));
        }
        let again = repository.thumbnail_after(caller, mxc, wanted, patience, from_origin, &elsewhere);
        found = Box::pin(again).await;
    }
}

/// Shown in the page, and called after its type.
pub(crate) fn disposition(content_type: &str) -> HeaderValue {
    let extension = content_type.strip_prefix("image/").unwrap_or("bin");
    format(Disposition::Inline, Some(&format!("thumbnail.{extension}")))
}

/// `width` and `height` are required; `method` is `scale` if it is not given. `animated` is a wish that may be declined,
/// and so far always is.
pub(crate) fn thumbnail_request(query: Option<&str>) -> Result<ThumbnailRequest, MatrixError> {
    let query = Query::parse(query)?;
    let pixels = |name| {
        query.required_u32(name).map_err(|error| match error {
            QueryError::Missing { .. } => error.into(),
            // Too large for any picture, or not a number at all: the specification sends M_UNKNOWN for both.
            _ => MatrixError::nonsense(format!("{name} is not a size in pixels")),
        })
    };
    let (width, height) = (pixels("width")?, pixels("height")?);
    let method = match query.get("method") {
        None | Some("scale") => Method::Scale,
        Some("crop") => Method::Crop,
        Some(_) => return Err(MatrixError::invalid_param("method is neither scale nor crop")),
    };
    let size = Dimensions::new(width, height).ok_or_else(|| MatrixError::nonsense("width and height must not be 0"))?;
    Ok(ThumbnailRequest { size, method })
}
