//! Paths and methods that are not served: 404 and 405 `M_UNRECOGNIZED` (client-server API, "Unrecognized endpoints").

use axum::http::StatusCode;

use crate::error::{MatrixError, unrecognized};

pub(crate) async fn path() -> MatrixError {
    unrecognized(StatusCode::NOT_FOUND)
}

pub(crate) async fn method() -> MatrixError {
    unrecognized(StatusCode::METHOD_NOT_ALLOWED)
}
