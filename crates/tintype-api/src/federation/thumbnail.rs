//! `GET /_matrix/federation/v1/media/thumbnail/{mediaId}`, also as `unstable/org.matrix.msc3916.v2`.

use std::sync::Arc;

use axum::{extract::State, http::HeaderValue, response::Response};
use tintype_repository::{FromOrigin, Misses};

use super::{Media, mixed};
use crate::{
    Api,
    client::thumbnail::{Asked, disposition, here_or_there, thumbnail_request},
    edge::Head,
    error::MatrixError,
    patience::Patience,
    relay::Place,
};

/// Serves a thumbnail of media of ours to another server.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let asking = api.server(&head).await?;
    let mxc = asking.media(head.request.uri())?;
    let query = head.request.uri().query();
    let (wanted, patience) = (thumbnail_request(query)?, Patience::of(&head)?);
    let caller = &asking.caller;
    let (repository, time, from) = (&api.parts.repository, patience.time, FromOrigin::CachedOnly);
    let mut opened = repository.thumbnail(caller, &mxc, wanted, time, from).await;
    let asked = Asked { wanted, patience: time, from_origin: from };
    let mut misses = Misses::default();
    loop {
        let thumbnail = match here_or_there(&api, caller, &mxc, &head, asked, opened).await {
            Ok(Place::Here(thumbnail)) => thumbnail,
            Ok(Place::There(answer)) => return Ok(answer),
            Err(error) => return Err(patience.refusal(error.into())),
        };
        let content_type = HeaderValue::from_static(thumbnail.content_type);
        let media = Media::Known(thumbnail.content, thumbnail.size);
        let disposition = disposition(thumbnail.content_type);
        match mixed(&api, thumbnail.lifetime, &thumbnail.audience, &content_type, &disposition, media).await {
            Ok(response) => return Ok(response),
            Err(error) => {
                let missing = misses.next(error)?;
                opened = repository.thumbnail_again(caller, &mxc, wanted, time, from, missing).await;
            }
        }
    }
}
