//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`, also as `r0` and `v1`, and under its unstable name (MSC2246).
//!
//! With `Upload-Complete` it is resumable (IETF draft "Resumable Uploads for HTTP"): see `resume`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tintype_http::{
    query::{Query, QueryError},
    resumable::{COMPLETE, UPLOAD_COMPLETE, upload_complete, upload_length},
};
use tintype_repository::{Completion, FulfilError, Fulfilled, Resumable, Upload, UploadKind};

use super::{
    resume::{completion, describe_kept},
    upload::{content_length, content_type, filename},
};
use crate::{
    Api,
    edge::Head,
    error::{MatrixError, ok},
    front_door::body::ClientBody,
    media_path::MediaPath,
    naming::Naming,
    relay::upload_elsewhere,
    upload_body::UploadBody,
};

/// Stores the body under a URI that was created for it.
pub(crate) async fn put(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = Head::split(request);
    let mut body = UploadBody::new(body, api.parts.body_idle_timeout);
    let outcome = fulfil(&api, &head, &mut body).await;
    answer(&api, &head, body, outcome).await
}

/// Why an upload, or a part of it, is not taken.
pub(crate) enum Refused {
    /// As the repository says: it may be at another node.
    Fulfil(FulfilError),
    /// For anything else.
    Other(MatrixError),
}

impl From<FulfilError> for Refused {
    fn from(error: FulfilError) -> Self {
        Self::Fulfil(error)
    }
}

impl From<MatrixError> for Refused {
    fn from(error: MatrixError) -> Self {
        Self::Other(error)
    }
}

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self::Other(error.into())
    }
}

/// The answer to a request with a part of an upload: ours, or that of the node that has the upload.
pub(crate) async fn answer(api: &Api, head: &Head, body: UploadBody, outcome: Result<Response, Refused>) -> Response {
    let error = match outcome {
        Ok(answer) => return answer,
        Err(Refused::Fulfil(error @ FulfilError::Elsewhere(_))) => {
            // What the other node does not read of the body is read here.
            match upload_elsewhere(api, head, ClientBody::unread(body), error).await {
                Ok(answer) => return answer,
                Err(error) => error,
            }
        }
        Err(Refused::Fulfil(error)) => {
            body.linger();
            error.into()
        }
        Err(Refused::Other(error)) => {
            body.linger();
            error
        }
    };
    Naming::of_path(head.request.uri()).of(error).into_response()
}

/// The media that the path names.
pub(crate) fn media(uri: &Uri) -> Result<MediaPath, MatrixError> {
    // Segments before the server name.
    MediaPath::parse(
        uri,
        match Naming::of_path(uri) {
            Naming::Stable => 4,
            Naming::Unstable => 5,
        },
    )
}

async fn fulfil(api: &Api, head: &Head, body: &mut UploadBody) -> Result<Response, Refused> {
    let caller = api.caller(head).await?;
    let (uri, headers) = (head.request.uri(), head.request.headers());
    let mxc = media(uri)?.mxc;
    let query = Query::parse(uri.query())?;
    let upload = Upload {
        server_name: mxc.server_name.clone(),
        content_type: content_type(headers),
        filename: filename(&query),
        content_length: content_length(headers),
        // As it was reserved.
        kind: UploadKind::Kept,
    };
    let resumable = upload_complete(headers)
        .map(|complete| Resumable { completion: completion(complete), length: upload_length(headers) });
    let repository = &api.parts.repository;
    match repository.fulfil(&caller, &mxc, upload, resumable, body).await? {
        Fulfilled::Stored => {
            let mut answer = ok(&json!({}));
            if resumable.is_some_and(|resumable| resumable.completion == Completion::Complete) {
                answer.headers_mut().insert(UPLOAD_COMPLETE, COMPLETE);
            }
            Ok(answer)
        }
        Fulfilled::Partly(kept) => {
            let mut answer = StatusCode::CREATED.into_response();
            describe_kept(api, answer.headers_mut(), &kept);
            if let Ok(location) = uri.path().try_into() {
                answer.headers_mut().insert(header::LOCATION, location);
            }
            Ok(answer)
        }
    }
}
