//! `GET /_matrix/federation/v1/media/download/{mediaId}`, also as `unstable/org.matrix.msc3916.v2`.

use std::sync::Arc;

use axum::{extract::State, http::HeaderValue, response::Response};
use tintype_http::disposition::{disposition_for, format};
use tintype_repository::{Arriving, Content, DownloadRequest, FromOrigin, Misses, Opened, RedactedMedia};

use super::{Media, mixed};
use crate::{
    Api,
    client::download::{content_type, here_or_there, wanted},
    edge::Head,
    error::MatrixError,
    patience::Patience,
    relay::Place,
};

/// Serves media of ours to another server, from its first byte on while it is still arriving.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let asking = api.server(&head).await?;
    let mxc = asking.media(head.request.uri())?;
    let patience = Patience::of(&head)?;
    let wanted = wanted(&head);
    // What is redacted is never shown to other servers.
    let redacted = RedactedMedia::Hidden;
    let request = DownloadRequest { wanted, patience: patience.time, from_origin: FromOrigin::CachedOnly, redacted };
    let mut opened = api.parts.repository.open(&asking.caller, &mxc, request).await;
    let mut misses = Misses::default();
    loop {
        let found = match here_or_there(&api, &asking.caller, &mxc, &head, request, opened).await {
            Ok(Place::Here(found)) => found,
            Ok(Place::There(answer)) => return Ok(answer),
            Err(error) => return Err(patience.refusal(error.into())),
        };
        let (lifetime, audience, declared, filename, media) = match found {
            Opened::Stored(media) => {
                let record = media.record();
                let labels = (record.content_type.clone(), record.filename.clone());
                (
                    record.lifetime,
                    record.audience.clone(),
                    labels.0,
                    labels.1,
                    Media::Known(media.content.clone(), record.size),
                )
            }
            Opened::Arriving(opened) => {
                let Arriving { content_type, filename, .. } = &*opened.arriving;
                let media = match opened.content.length() {
                    Some(length) => Media::Known(Content::Growing(opened.content.clone()), length),
                    None => Media::Unknown(opened.content.clone()),
                };
                (opened.arriving.lifetime, opened.audience.clone(), content_type.clone(), filename.clone(), media)
            }
        };
        let disposition: HeaderValue = format(disposition_for(&declared), filename.as_deref());
        match mixed(&api, lifetime, &audience, &content_type(&declared), &disposition, media).await {
            Ok(response) => return Ok(response),
            Err(error) => {
                let missing = misses.next(error)?;
                opened = Box::pin(api.parts.repository.open_again(&asking.caller, &mxc, request, missing)).await;
            }
        }
    }
}
