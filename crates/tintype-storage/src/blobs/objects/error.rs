//! What the errors of a store mean.

use opendal::{Error, ErrorKind};

use crate::blobs::{BlobsError, Location};

/// What the store says when there is no such object. Only this code means that: a proxy in front of it, or a store of
/// something else, has a 404 of its own.
const NO_SUCH_KEY: &str = "NoSuchKey";

/// What it means for a blob. An object that is not there is known to be missing; a store that is not there says nothing
/// about its objects.
pub(super) fn blobs_error(error: &Error, location: Option<&Location>) -> BlobsError {
    match (error.kind(), location) {
        (_, Some(location)) if is_no_such_key(error) => BlobsError::NotFound(location.clone()),
        (ErrorKind::RateLimited, _) => BlobsError::Unavailable(outline(error)),
        _ if error.is_temporary() => BlobsError::Unavailable(outline(error)),
        _ => BlobsError::Store(outline(error)),
    }
}

/// Whether the store says that there is no such object.
pub(super) fn is_no_such_key(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound && error.message().contains(NO_SUCH_KEY)
}

/// The error in one line, with its causes.
fn outline(error: &Error) -> String {
    let mut text = format!("{}: {}", error.kind(), error.message());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
