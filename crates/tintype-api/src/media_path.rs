//! `…/{server}/{id}[/{name}]`: the parts of a media path, parsed from the raw request target.

use axum::http::Uri;
use tintype_domain::Mxc;
use tintype_http::path::{decode_segment, segments};

use crate::error::MatrixError;

/// The media that a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MediaPath {
    pub(crate) mxc: Mxc,
    /// The name that the client wants the file to have.
    pub(crate) filename: Option<String>,
}

impl MediaPath {
    /// Parses what follows the first `fixed` segments of the path.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND` for a server name or media ID outside the grammar: no media has such a name.
    /// 400 `M_INVALID_PARAM` for a file name that is not UTF-8.
    pub(crate) fn parse(uri: &Uri, fixed: usize) -> Result<Self, MatrixError> {
        let mut rest = segments(uri.path()).skip(fixed);
        let mut part =
            || rest.next().and_then(|segment| decode_segment(segment).ok()).ok_or_else(MatrixError::not_found);
        let mxc = Mxc::from_parts(&part()?, &part()?).map_err(|_| MatrixError::not_found())?;
        let filename = rest
            .next()
            .map(|segment| {
                decode_segment(segment).map_err(|error| MatrixError::invalid_param(format!("The file name {error}")))
            })
            .transpose()?;
        Ok(Self { mxc, filename: filename.map(std::borrow::Cow::into_owned) })
    }
}
