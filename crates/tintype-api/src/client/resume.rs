//! `HEAD`, `GET`, `PATCH` and `DELETE /_matrix/media/v3/upload/{serverName}/{mediaId}`: how far an upload has come,
//! going on with it, and giving it up.
//!
//! An extension: the IETF draft "Resumable Uploads for HTTP", with the URI of the upload as its upload resource. There
//! are no 104 responses: the URI is known before the upload begins.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tintype_domain::Timestamp;
use tintype_http::resumable::{
    COMPLETE, INCOMPLETE, UPLOAD_COMPLETE, UPLOAD_LENGTH, UPLOAD_LIMIT, UPLOAD_OFFSET, is_partial_upload,
    upload_complete, upload_length, upload_limit, upload_offset,
};
use tintype_repository::{Append, Completion, Fulfilled, Kept, Resumable, UploadProgress};

use super::{
    put::{Refused, answer, media},
    upload::content_length,
};
use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
    naming::Naming,
    relay::upload_elsewhere,
    upload_body::UploadBody,
};

/// Answers with how far the upload has come.
pub(crate) async fn get(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller(&head).await?;
    let mxc = media(head.request.uri())?.mxc;
    let progress = match api.parts.repository.upload_progress(&caller, &mxc).await {
        Ok(progress) => progress,
        Err(error) => {
            let answer = upload_elsewhere(&api, &head, Body::empty(), error).await;
            return answer.map_err(|error| Naming::of_path(head.request.uri()).of(error));
        }
    };
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let headers = answer.headers_mut();
    match progress {
        UploadProgress::Kept(kept) => describe_kept(&api, headers, &kept),
        UploadProgress::Stored { size } => {
            headers.insert(UPLOAD_COMPLETE, COMPLETE);
            headers.insert(UPLOAD_OFFSET, size.into());
            headers.insert(UPLOAD_LENGTH, size.into());
            headers.insert(UPLOAD_LIMIT, upload_limit(api.parts.repository.largest_upload(), None));
        }
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Takes the next part of the upload.
pub(crate) async fn patch(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    let outcome = append(&api, &head, &mut body).await;
    answer(&api, &head, body, outcome).await
}

/// Drops what the upload has brought.
pub(crate) async fn delete(State(api): State<Arc<Api>>, head: Head) -> Result<Response, MatrixError> {
    let caller = api.caller(&head).await?;
    let mxc = media(head.request.uri())?.mxc;
    if let Err(error) = api.parts.repository.cancel_upload(&caller, &mxc).await {
        let answer = upload_elsewhere(&api, &head, Body::empty(), error).await;
        return answer.map_err(|error| Naming::of_path(head.request.uri()).of(error));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn append(api: &Api, head: &Head, body: &mut UploadBody) -> Result<Response, Refused> {
    let caller = api.caller(head).await?;
    let mxc = media(head.request.uri())?.mxc;
    let headers = head.request.headers();
    if !is_partial_upload(headers) {
        let error = "a part of an upload has the type application/partial-upload";
        return Err(MatrixError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "M_UNKNOWN", error).into());
    }
    let missing = |name| {
        let error = format!("the header {name} is missing, or is malformed");
        MatrixError::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", error)
    };
    let append = Append {
        offset: upload_offset(headers).ok_or_else(|| missing("Upload-Offset"))?,
        resumable: Resumable {
            completion: completion(upload_complete(headers).ok_or_else(|| missing("Upload-Complete"))?),
            length: upload_length(headers),
        },
        content_length: content_length(headers),
    };
    match api.parts.repository.append(&caller, &mxc, append, body).await? {
        Fulfilled::Stored => {
            let mut answer = ok(&json!({}));
            answer.headers_mut().insert(UPLOAD_COMPLETE, COMPLETE);
            Ok(answer)
        }
        Fulfilled::Partly(kept) => {
            let mut answer = StatusCode::NO_CONTENT.into_response();
            describe_kept(api, answer.headers_mut(), &kept);
            Ok(answer)
        }
    }
}

pub(crate) fn completion(complete: bool) -> Completion {
    if complete { Completion::Complete } else { Completion::Incomplete }
}

/// Says how far an upload has come that is not whole, and what it may still bring.
pub(crate) fn describe_kept(api: &Api, headers: &mut HeaderMap, kept: &Kept) {
    headers.insert(UPLOAD_COMPLETE, INCOMPLETE);
    headers.insert(UPLOAD_OFFSET, kept.offset.into());
    if let Some(length) = kept.length {
        headers.insert(UPLOAD_LENGTH, length.into());
    }
    let expires = Some(kept.expires_at).filter(|time| *time != Timestamp::NEVER);
    let max_age = expires.map(|time| time.since(api.parts.clock.now()));
    headers.insert(UPLOAD_LIMIT, upload_limit(api.parts.repository.largest_upload(), max_age));
}
