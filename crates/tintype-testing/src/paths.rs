//! The endpoints' paths.

use std::fmt::Display;

use tintype_domain::Mxc;

/// `POST` an upload here.
pub const UPLOAD: &str = "/_matrix/media/v3/upload";

/// What may be uploaded.
pub const CONFIG: &str = "/_matrix/client/v1/media/config";

/// Where media is downloaded with a token.
pub fn download(mxc: &Mxc) -> String {
    format!("/_matrix/client/v1/media/download/{}/{}", mxc.server_name, mxc.media_id)
}

/// Where a thumbnail is fetched with a token; `query` follows the `?`.
pub fn thumbnail(mxc: &Mxc, query: impl Display) -> String {
    format!("/_matrix/client/v1/media/thumbnail/{}/{}?{query}", mxc.server_name, mxc.media_id)
}

/// Where media is downloaded without a token (deprecated).
pub fn legacy_download(mxc: &Mxc) -> String {
    format!("/_matrix/media/v3/download/{}/{}", mxc.server_name, mxc.media_id)
}

/// Where a thumbnail is fetched without a token (deprecated); `query` follows the `?`.
pub fn legacy_thumbnail(mxc: &Mxc, query: impl Display) -> String {
    format!("/_matrix/media/v3/thumbnail/{}/{}?{query}", mxc.server_name, mxc.media_id)
}
