//! What can go wrong, so that a program can decide what to do about it.
//!
//! A refusal by the server ([`Error::Matrix`]) is kept apart from a connection that failed ([`Error::Transport`]): the
//! first will be the same tomorrow, the second may be over in a second. No error holds the access token or the URL.

use std::{borrow::Cow, fmt, io, time::Duration};

use serde_json::{Map, Value};

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused, and said why.
    #[error(transparent)]
    Matrix(MatrixError),
    /// A refusal that is no Matrix error: from a proxy, from something else than a media repository, or to `HEAD`,
    /// whose answers have no body.
    #[error("the server answered {status} without saying why")]
    Status {
        /// The HTTP status.
        status: u16,
        /// How long the server asks to wait before the next request.
        retry_after: Option<Duration>,
    },
    /// The server answered, but not as the specification says.
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
    /// The server could not be reached, or the connection broke.
    #[error(transparent)]
    Transport(TransportError),
    /// What was to be sent could not be read.
    #[error("what is to be sent cannot be read")]
    Source(#[source] io::Error),
    /// What was to be sent is shorter or longer than was announced. The request was broken off.
    #[error("what is to be sent has not the {announced} bytes that were announced")]
    SourceLength {
        /// The length that was announced, in bytes.
        announced: u64,
    },
    /// A resumable upload was demanded for a source that can be read only once.
    #[error("a resumable upload needs a source that can be read again")]
    SourceReadOnce,
    /// The server has less of a resumable upload than was sent.
    #[error("the server has only a part of what was sent")]
    Incomplete,
    /// What the server has of an upload is not the beginning of what is to be sent.
    #[error("the server has {offset} bytes of an upload that is not this one")]
    OtherUpload {
        /// How many bytes the server has.
        offset: u64,
    },
    /// A broken download cannot go on: what the server has now is not what the first part came from.
    #[error("the media is not the one that the first part came from")]
    Changed,
    /// The answer has no length and no end that could be told from a broken connection.
    #[error("the answer could end unnoticed: it has neither a length nor chunks")]
    NoEnd,
    /// The media is longer than what the caller wants to hold in memory.
    #[error("the media is longer than {limit} bytes")]
    TooLong {
        /// The caller's limit, in bytes.
        limit: u64,
    },
    /// Where the media was to be written to could not be written.
    #[error("what was received cannot be written")]
    Sink(#[source] io::Error),
    /// The server does not have ephemeral media (MSC4425). If it was to be uploaded, nothing was sent.
    #[error("the server does not have ephemeral media (MSC4425): it would keep everything for ever")]
    NoEphemeralMedia,
    /// The server does not have restricted media (MSC3911). Nothing was stored.
    #[error("the server does not have restricted media (MSC3911): it would show everything to everybody")]
    NoRestrictedMedia,
    /// What was received is not what was encrypted: nothing of it may be used.
    #[error("what was received is not what was encrypted: its SHA-256 is another")]
    WrongHash,
    /// The client was given something that cannot be put into a request.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Error {
    /// The refusal, if it is one.
    pub fn matrix(&self) -> Option<&MatrixError> {
        match self {
            Self::Matrix(error) => Some(error),
            _ => None,
        }
    }

    /// The code of the refusal, if it is one.
    pub fn errcode(&self) -> Option<&ErrorCode> {
        self.matrix().map(|error| &error.errcode)
    }

    /// The HTTP status of the refusal, if it is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Matrix(error) => Some(error.status),
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long the server asks to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Matrix(error) => error.retry_after,
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed later: the connection failed, or the server is busy or restarts, or another
    /// request is in the way that will be over.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.kind != TransportErrorKind::Request,
            Self::Incomplete => true,
            _ => match self.status() {
                Some(408 | 429 | 500 | 502 | 503 | 504) => true,
                Some(409) => self.retry_after().is_some(),
                _ => false,
            },
        }
    }

    pub(crate) fn broken() -> Self {
        Self::Transport(TransportError { kind: TransportErrorKind::Broken, source: None })
    }

    pub(crate) fn timed_out() -> Self {
        Self::Transport(TransportError { kind: TransportErrorKind::TimedOut, source: None })
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        let kind = if error.is_connect() {
            TransportErrorKind::Connect
        } else if error.is_timeout() {
            TransportErrorKind::TimedOut
        } else if error.is_builder() || error.is_redirect() {
            TransportErrorKind::Request
        } else {
            TransportErrorKind::Broken
        };
        Self::Transport(TransportError { kind, source: Some(Box::new(error.without_url())) })
    }
}

/// A connection that failed.
#[derive(Debug)]
pub struct TransportError {
    /// At what it failed.
    pub kind: TransportErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// At what a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// There was no connection: no such host, nobody listens, no trusted certificate.
    Connect,
    /// Nothing moved for too long.
    TimedOut,
    /// The connection broke.
    Broken,
    /// The request could not be made, or led to where it must not go (a redirect without end, or to plain HTTP).
    Request,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Connect => "the server cannot be reached",
            TransportErrorKind::TimedOut => "nothing moved for too long",
            TransportErrorKind::Broken => "the connection broke",
            TransportErrorKind::Request => "the request cannot be made",
        })
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// A refusal in the server's words (client-server API, "Standard error response").
#[derive(Debug, Clone)]
pub struct MatrixError {
    /// The HTTP status.
    pub status: u16,
    /// What programs go by.
    pub errcode: ErrorCode,
    /// What people read; may be empty.
    pub text: String,
    /// How long to wait before the next request: `Retry-After`, or else `retry_after_ms`.
    pub retry_after: Option<Duration>,
    /// The whole body, for what some codes bring with them (`soft_logout`, `info_uri`).
    pub body: Map<String, Value>,
}

impl MatrixError {
    /// Reads the body of a refusal; `None` if it is not a Matrix error.
    pub(crate) fn parse(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Option<Self> {
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let errcode = ErrorCode::from(body.get("errcode")?.as_str()?.to_owned());
        let text = body.get("error").and_then(Value::as_str).unwrap_or_default().to_owned();
        // Deprecated since v1.10, and still sent by servers that send no header.
        let retry_after_ms = || body.get("retry_after_ms").and_then(Value::as_u64).map(Duration::from_millis);
        Some(Self { status, errcode, text, retry_after: retry_after.or_else(retry_after_ms), body })
    }
}

impl fmt::Display for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.errcode)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

impl std::error::Error for MatrixError {}

/// The `errcode` of a Matrix error. Those that media endpoints send have constants; any other compares as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErrorCode(Cow<'static, str>);

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($code));)*
        }
    };
}

error_codes! {
    /// The media has content already; a URI is uploaded to once.
    CANNOT_OVERWRITE_MEDIA = "M_CANNOT_OVERWRITE_MEDIA";
    /// Not allowed, whatever is tried: somebody else's reservation, a full quota.
    FORBIDDEN = "M_FORBIDDEN";
    /// Guests may not do this.
    GUEST_ACCESS_FORBIDDEN = "M_GUEST_ACCESS_FORBIDDEN";
    /// A parameter cannot be right.
    INVALID_PARAM = "M_INVALID_PARAM";
    /// Too often, or too many pending uploads.
    LIMIT_EXCEEDED = "M_LIMIT_EXCEEDED";
    /// A parameter is missing.
    MISSING_PARAM = "M_MISSING_PARAM";
    /// No access token was sent.
    MISSING_TOKEN = "M_MISSING_TOKEN";
    /// There is no such media, or the reservation has expired.
    NOT_FOUND = "M_NOT_FOUND";
    /// The media is reserved, and its upload did not come in time.
    NOT_YET_UPLOADED = "M_NOT_YET_UPLOADED";
    /// Larger than the server takes or gives.
    TOO_LARGE = "M_TOO_LARGE";
    /// The user may not see what the media is attached to (MSC3911).
    UNAUTHORIZED = "M_UNAUTHORIZED";
    /// Anything else.
    UNKNOWN = "M_UNKNOWN";
    /// The access token is not, or no longer, valid.
    UNKNOWN_TOKEN = "M_UNKNOWN_TOKEN";
    /// There is no such endpoint.
    UNRECOGNIZED = "M_UNRECOGNIZED";
    /// The user's quota is reached; `info_uri` of the body is a page about it.
    USER_LIMIT_EXCEEDED = "M_USER_LIMIT_EXCEEDED";
}

impl ErrorCode {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ErrorCode {
    fn from(code: String) -> Self {
        Self(Cow::Owned(code))
    }
}

impl PartialEq<str> for ErrorCode {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_error_is_read_with_all_that_it_says() {
        let body = br#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too many","retry_after_ms":1500}"#;

        let error = MatrixError::parse(429, None, body).unwrap();

        assert_eq!(error.errcode, ErrorCode::LIMIT_EXCEEDED);
        assert_eq!(error.errcode, "M_LIMIT_EXCEEDED");
        assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
        assert_eq!(error.to_string(), "429 M_LIMIT_EXCEEDED: Too many");
    }

    #[test]
    fn the_header_goes_before_the_deprecated_field() {
        let body = br#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}"#;

        let error = MatrixError::parse(429, Some(Duration::from_secs(2)), body).unwrap();

        assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(error.to_string(), "429 M_LIMIT_EXCEEDED");
    }

    #[test]
    fn a_code_that_has_no_constant_is_kept() {
        let error = MatrixError::parse(403, None, br#"{"errcode":"ORG.EXAMPLE_X","error":"no"}"#).unwrap();

        assert_eq!(error.errcode, "ORG.EXAMPLE_X");
        assert_ne!(error.errcode, ErrorCode::FORBIDDEN);
    }

    #[test]
    fn what_is_no_matrix_error_is_not_taken_for_one() {
        for body in ["", "<html>", "[]", "{}", r#"{"errcode":7}"#, r#"{"error":"no code"}"#] {
            assert!(MatrixError::parse(502, None, body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn only_what_may_pass_is_transient() {
        let status = |status| Error::Status { status, retry_after: None };

        for passing in [Error::broken(), Error::timed_out(), status(503), status(429), status(408), Error::Incomplete] {
            assert!(passing.is_transient(), "{passing}");
        }
        for lasting in [status(404), status(409), status(413), status(501), status(507), Error::Changed, Error::NoEnd] {
            assert!(!lasting.is_transient(), "{lasting}");
        }
        assert!(Error::Status { status: 409, retry_after: Some(Duration::ZERO) }.is_transient());
    }
}
