//! The two names of what MSC2246 brought: those of the specification, and those from before it was accepted.

use axum::http::Uri;

use crate::error::MatrixError;

/// Which names a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    Stable,
    /// `fi.mau.msc2246`
    Unstable,
}

impl Naming {
    /// By the path of an endpoint.
    pub(crate) fn of_path(uri: &Uri) -> Self {
        let unstable = uri.path().starts_with("/_matrix/media/unstable/fi.mau.msc2246/");
        if unstable { Self::Unstable } else { Self::Stable }
    }

    /// The error under its name.
    pub(crate) fn of(self, error: MatrixError) -> MatrixError {
        let unstable = match (self, error.errcode()) {
            (Self::Unstable, Some("M_NOT_YET_UPLOADED")) => "FI.MAU.MSC2246_NOT_YET_UPLOADED",
            (Self::Unstable, Some("M_CANNOT_OVERWRITE_MEDIA")) => "FI.MAU.MSC2246_CANNOT_OVERWRITE_MEDIA",
            _ => return error,
        };
        error.named(unstable)
    }
}
