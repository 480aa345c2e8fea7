//! Every refusal as a Matrix error: the one place where errors become HTTP.
//!
//! What went wrong inside is logged here in full and told to the client in general terms; what the client did wrong is
//! told to it exactly.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use tintype_federation::AuthenticationError;
use tintype_homeserver::{ForwardError, QuestionError, Refusal};
use tintype_http::{
    bearer::BearerError,
    query::QueryError,
    resumable::{COMPLETE, INCOMPLETE, UPLOAD_COMPLETE, UPLOAD_LIMIT, UPLOAD_OFFSET, upload_limit},
};
use tintype_repository::{
    AttachError, AuthenticateError, BodyError, CopyError, DeleteError, FulfilError, OpenError, RETRY_WHILE_RECEIVING,
    RateLimited, ReceiveError, ReserveError, ServerError, StorageError, ThumbnailsError, UnrestrictedError,
};
use tintype_storage::blobs::BlobsError;

use crate::{outcome::Outcome, relay::look_again};

/// How long a client waits that asked when nobody could say whether it may see something.
const RETRY_UNDECIDED: Duration = Duration::from_secs(5);

/// How long a client waits that came while the store was away.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);

/// How long a client waits whose upload is at a node that gives no answer.
const RETRY_NODE: Duration = Duration::from_secs(2);

/// An error as the specification words it (client-server API, "Standard error response").
#[derive(Debug)]
pub(crate) struct MatrixError {
    status: StatusCode,
    body: ErrorBody,
    headers: Vec<(HeaderName, HeaderValue)>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum ErrorBody {
    Ours(Map<String, Value>),
    /// A homeserver's own words, passed on unchanged.
    Theirs(Bytes),
}

impl MatrixError {
    pub(crate) fn new(status: StatusCode, errcode: &str, error: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("errcode".to_owned(), errcode.into());
        body.insert("error".to_owned(), error.into().into());
        Self { status, body: ErrorBody::Ours(body), headers: Vec::new(), outcome: None }
    }

    /// The same, with another error code.
    pub(crate) fn named(mut self, errcode: &str) -> Self {
        if let ErrorBody::Ours(body) = &mut self.body {
            body.insert("errcode".to_owned(), errcode.into());
        }
        self
    }

    /// The error code, if it is one of ours.
    pub(crate) fn errcode(&self) -> Option<&str> {
        match &self.body {
            ErrorBody::Ours(body) => body.get("errcode")?.as_str(),
            ErrorBody::Theirs(_) => None,
        }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let ErrorBody::Ours(body) = &mut self.body {
            body.insert(key.to_owned(), value.into());
        }
        self
    }

    fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let value = HeaderValue::try_from(seconds.to_string()).expect("digits are a valid header");
        self.with_header(header::RETRY_AFTER, value)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", "There is no such media here")
    }

    /// 403 in one text for all that a user may not delete, so that it does not tell what there is (MSC4425).
    pub(crate) fn not_yours() -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", "There is no ephemeral media of yours under this URI")
    }

    /// What is frozen is not there; only those who count are told.
    fn frozen() -> Self {
        Self { outcome: Some(Outcome::Frozen), ..Self::not_found() }
    }

    /// 403 `M_UNAUTHORIZED` (MSC3911): in one text, whatever is missing.
    fn not_visible() -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_UNAUTHORIZED", "The media is not visible to you")
    }

    /// 503: the homeserver does not say who may see what the media is attached to. Why not is in the log.
    fn undecided() -> Self {
        let error = "It cannot be decided at the moment whether the media is visible to you; try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", error).retry_after(RETRY_UNDECIDED)
    }

    /// A homeserver's refusal in its own words.
    fn refused(refusal: Refusal) -> Self {
        let wait = refusal.retry_after.and_then(|wait| HeaderValue::try_from(wait).ok());
        Self {
            status: StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::UNAUTHORIZED),
            body: ErrorBody::Theirs(refusal.body),
            headers: wait.map(|wait| (header::RETRY_AFTER, wait)).into_iter().collect(),
            outcome: None,
        }
    }

    /// 504 `M_NOT_YET_UPLOADED` (v1.7).
    pub(crate) fn not_yet_uploaded() -> Self {
        let error = "The media has not been uploaded yet; try again later";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", error)
    }

    pub(crate) fn invalid_param(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", error)
    }

    /// 400 `M_UNKNOWN`: what the specification sends for nonsensical thumbnail sizes.
    pub(crate) fn nonsense(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", error)
    }

    fn guest() -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot upload media")
    }

    /// v1.18 (MSC4335): the URI is required with the code that tells of a quota.
    fn over_quota(error: String, info_uri: Option<String>) -> Self {
        match info_uri {
            Some(uri) => Self::new(StatusCode::FORBIDDEN, "M_USER_LIMIT_EXCEEDED", error).with("info_uri", uri),
            None => Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", error),
        }
    }

    fn limit_exceeded(error: impl Into<String>, retry_after: Duration) -> Self {
        let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", error)
            .with("retry_after_ms", millis)
            .retry_after(retry_after)
    }

    /// 503: the node that has the upload gives no answer. It comes back, or is known to be gone in a moment.
    pub(crate) fn node_unreachable() -> Self {
        let error = "The part of the media repository that has this upload cannot be reached; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", error).retry_after(RETRY_NODE)
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "The media repository failed; its log says why")
    }
}

impl IntoResponse for MatrixError {
    fn into_response(self) -> Response {
        let body = match self.body {
            ErrorBody::Ours(body) => Value::Object(body).to_string().into(),
            ErrorBody::Theirs(body) => body,
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        match self.outcome {
            Some(outcome) => outcome.noted(response),
            None => response,
        }
    }
}

impl From<RateLimited> for MatrixError {
    fn from(limited: RateLimited) -> Self {
        Self::limit_exceeded("Too many requests; try again later", limited.retry_after)
    }
}

impl From<&ForwardError> for MatrixError {
    fn from(error: &ForwardError) -> Self {
        let text = match error {
            ForwardError::NotSent(_) => "The homeserver cannot be reached; the request was not passed on",
            ForwardError::Unknown(_) => "The homeserver did not answer; the request may have taken effect",
        };
        Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text)
    }
}

impl From<AuthenticateError> for MatrixError {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::UnknownToken => {
                Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "The access token is not known")
            }
            AuthenticateError::Refused(refusal) => Self::refused(refusal),
            AuthenticateError::OtherServer => Self::new(
                StatusCode::FORBIDDEN,
                "M_FORBIDDEN",
                "The access token belongs to a user of another server than the one this host serves",
            ),
            AuthenticateError::UnknownServer => {
                Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", "This host is not served here")
            }
            AuthenticateError::RateLimited(limited) => limited.into(),
            AuthenticateError::Unavailable(why) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                format!("The access token cannot be checked at the moment: {why}"),
            )
            .retry_after(Duration::from_secs(5)),
        }
    }
}

impl From<BearerError> for MatrixError {
    fn from(error: BearerError) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", error.to_string())
    }
}

impl From<QueryError> for MatrixError {
    fn from(error: QueryError) -> Self {
        let errcode = if matches!(error, QueryError::Missing { .. }) { "M_MISSING_PARAM" } else { "M_INVALID_PARAM" };
        Self::new(StatusCode::BAD_REQUEST, errcode, error.to_string())
    }
}

impl From<&StorageError> for MatrixError {
    fn from(error: &StorageError) -> Self {
        tracing::error!(%error, "the storage failed");
        match error {
            StorageError::DiskFull => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "M_UNKNOWN",
                "The media repository's disk is full; the server's administrator has to make room",
            ),
            StorageError::Unavailable(_) | StorageError::Blobs(BlobsError::Unavailable(_)) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The media repository's store does not answer at the moment; try again",
            )
            .retry_after(RETRY_UNAVAILABLE),
            StorageError::Records(_) | StorageError::Blobs(_) => Self::internal(),
        }
    }
}

impl From<OpenError> for MatrixError {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::RateLimited(limited) => limited.into(),
            OpenError::NotFound => Self::not_found(),
            OpenError::Frozen => Self::frozen(),
            OpenError::NotVisible => Self::not_visible(),
            OpenError::Undecided(_) => Self::undecided(),
            OpenError::TokenRefused(refusal) => Self::refused(refusal),
            OpenError::RedactedForOthers | OpenError::NotAPeer => Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", text),
            OpenError::TooLarge => Self::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", text),
            OpenError::OriginFailed(_) => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text),
            OpenError::NotYetUploaded => Self::not_yet_uploaded(),
            // A request that comes from a client was handed on before.
            OpenError::Elsewhere(_) | OpenError::Misdirected => look_again(),
            OpenError::Storage(error) => Self::from(&*error),
        }
    }
}

impl From<CopyError> for MatrixError {
    /// MSC3911.
    fn from(error: CopyError) -> Self {
        let text = error.to_string();
        match error {
            CopyError::Guest => Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", text),
            CopyError::RateLimited(limited) => limited.into(),
            CopyError::Open(error) => error.into(),
            CopyError::Ephemeral => Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", text),
            CopyError::OverQuota { info_uri } => Self::over_quota(text, info_uri),
            CopyError::Storage(error) => Self::from(&error),
        }
    }
}

impl From<DeleteError> for MatrixError {
    /// MSC4425.
    fn from(error: DeleteError) -> Self {
        let text = error.to_string();
        match error {
            DeleteError::Guest => Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", text),
            DeleteError::RateLimited(limited) => limited.into(),
            DeleteError::AlreadyDeleted => Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", text),
            DeleteError::Refused => Self::not_yours(),
            DeleteError::Storage(error) => Self::from(&error),
        }
    }
}

impl From<AttachError> for MatrixError {
    /// MSC3911.
    fn from(error: AttachError) -> Self {
        let text = error.to_string();
        match error {
            AttachError::TooMany { .. }
            | AttachError::NotTheirs(_)
            | AttachError::Taken(_)
            | AttachError::OtherRequest => Self::invalid_param(text),
            AttachError::Question(QuestionError::Refused(refusal)) => AuthenticateError::Refused(refusal).into(),
            AttachError::Question(_) | AttachError::UnderWay => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", text).retry_after(Duration::from_secs(5))
            }
            AttachError::NoHomeserver => unrecognized(StatusCode::NOT_FOUND),
            AttachError::Storage(error) => Self::from(&error),
        }
    }
}

impl From<ServerError> for MatrixError {
    fn from(error: ServerError) -> Self {
        match error {
            // A name that leads back to us: whoever asked under it finds nothing.
            ServerError::Ourselves => Self::not_found(),
            ServerError::NotAPeer => {
                Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", "Media is not exchanged with your server")
            }
            ServerError::RateLimited(limited) => limited.into(),
        }
    }
}

impl From<AuthenticationError> for MatrixError {
    /// Server-server API, "Request Authentication". What failed is said: it helps who signs in good faith, and nobody
    /// else.
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Ourselves(_) => Self::not_found(),
            AuthenticationError::Unavailable(error) => {
                // Not why: that would say where names lead from here, and what listens there.
                tracing::info!(%error, "the keys of another server cannot be had");
                let text = "The keys of your server cannot be had at the moment";
                Self::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", text)
            }
            error => Self::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", error.to_string()),
        }
    }
}

impl From<ThumbnailsError> for MatrixError {
    fn from(error: ThumbnailsError) -> Self {
        match &error {
            ThumbnailsError::RateLimited(limited) => (*limited).into(),
            ThumbnailsError::NotFound => Self::not_found(),
            ThumbnailsError::Frozen => Self::frozen(),
            ThumbnailsError::NotVisible => Self::not_visible(),
            ThumbnailsError::Undecided(_) => Self::undecided(),
            ThumbnailsError::TokenRefused(refusal) => Self::refused(refusal.clone()),
            ThumbnailsError::NotAPeer => Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", error.to_string()),
            ThumbnailsError::OriginFailed(_) => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", error.to_string()),
            // The same as for media of ours, but that the server is not to blame (client-server API, "Thumbnails").
            ThumbnailsError::RemoteTooLarge(_) => Self::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", error.to_string()),
            ThumbnailsError::NotYetUploaded => Self::not_yet_uploaded(),
            ThumbnailsError::Elsewhere(_) => look_again(),
            ThumbnailsError::NotAPicture(_) => Self::nonsense(error.to_string()),
            ThumbnailsError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error.to_string()),
            ThumbnailsError::Storage(error) => Self::from(&**error),
        }
    }
}

impl From<ReserveError> for MatrixError {
    fn from(error: ReserveError) -> Self {
        let text = error.to_string();
        match error {
            ReserveError::Guest => Self::guest(),
            ReserveError::Unrestricted(error) => error.into(),
            ReserveError::RateLimited(limited) => limited.into(),
            ReserveError::TooManyPending { retry_after, .. } => Self::limit_exceeded(text, retry_after),
            ReserveError::Storage(error) => Self::from(&error),
        }
    }
}

impl From<UnrestrictedError> for MatrixError {
    /// MSC3911.
    fn from(error: UnrestrictedError) -> Self {
        match error {
            UnrestrictedError::Blocked => Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", error.to_string()),
            UnrestrictedError::Authenticate(error) => error.into(),
        }
    }
}

impl From<FulfilError> for MatrixError {
    fn from(error: FulfilError) -> Self {
        let text = error.to_string();
        let cannot_overwrite = |text| Self::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", text);
        match error {
            FulfilError::Receive(error) => error.into(),
            FulfilError::NotFound => Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", text),
            FulfilError::NotTheCreator => Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", text),
            FulfilError::AlreadyStored => cannot_overwrite(text).with_header(UPLOAD_COMPLETE, COMPLETE),
            FulfilError::BeingReceived => cannot_overwrite(text).retry_after(RETRY_WHILE_RECEIVING),
            // A request that comes from a client was handed on before.
            FulfilError::Elsewhere(_) => look_again(),
            FulfilError::TakenOver => {
                Self::new(StatusCode::CONFLICT, "M_UNKNOWN", text).with_header(UPLOAD_COMPLETE, INCOMPLETE)
            }
            FulfilError::WrongOffset { expected, provided } => Self::new(StatusCode::CONFLICT, "M_UNKNOWN", text)
                .with("expected-offset", expected)
                .with("provided-offset", provided)
                .with_header(UPLOAD_OFFSET, expected.into())
                .with_header(UPLOAD_COMPLETE, INCOMPLETE),
            FulfilError::InconsistentLength(_) => Self::invalid_param(text).with_header(UPLOAD_COMPLETE, INCOMPLETE),
        }
    }
}

impl From<ReceiveError> for MatrixError {
    fn from(error: ReceiveError) -> Self {
        let text = error.to_string();
        match error {
            ReceiveError::Guest => Self::guest(),
            ReceiveError::RateLimited(limited) => limited.into(),
            ReceiveError::Unrestricted(error) => error.into(),
            ReceiveError::TooLarge { limit } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text)
                .with_header(UPLOAD_LIMIT, upload_limit(limit, None)),
            ReceiveError::OverQuota { info_uri } => Self::over_quota(text, info_uri),
            ReceiveError::ContentTypeTooLong | ReceiveError::FilenameTooLong => Self::invalid_param(text),
            ReceiveError::Body(BodyError::Broken(_)) => Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", text),
            ReceiveError::Body(BodyError::Stalled) => Self::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", text),
            ReceiveError::Storage(error) => Self::from(&error),
        }
    }
}

/// A JSON answer.
pub(crate) fn ok(body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 404 or 405 `M_UNRECOGNIZED` (client-server API, "Standard error response").
pub(crate) fn unrecognized(status: StatusCode) -> MatrixError {
    MatrixError::new(
        status,
        "M_UNRECOGNIZED",
        match status {
            StatusCode::METHOD_NOT_ALLOWED => "This endpoint has no such method",
            _ => "There is no such endpoint here",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_that_is_away_is_503_and_may_be_asked_again() {
        let error = StorageError::Unavailable("the database is away".to_owned());
        let response = MatrixError::from(&error).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
    }
}
