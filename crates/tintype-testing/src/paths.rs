//! The endpoints' paths.

use std::fmt::Display;

use tintype_domain::Mxc;

/// `POST` an upload here.
pub const UPLOAD: &str = "/_matrix/media/v3/upload";

/// `POST` here reserves a URI for a later upload.
pub const CREATE: &str = "/_matrix/media/v1/create";

/// The same before it was in the specification (MSC2246).
pub const UNSTABLE_CREATE: &str = "/_matrix/media/unstable/fi.mau.msc2246/create";

/// What may be uploaded.
pub const CONFIG: &str = "/_matrix/client/v1/media/config";

/// `PUT` an upload to a reserved URI here.
pub fn put(mxc: &Mxc) -> String {
    format!("/_matrix/media/v3/upload/{}/{}", mxc.server_name, mxc.media_id)
}

/// The same before it was in the specification (MSC2246).
pub fn unstable_put(mxc: &Mxc) -> String {
    format!("/_matrix/media/unstable/fi.mau.msc2246/upload/{}/{}", mxc.server_name, mxc.media_id)
}

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

/// Where ephemeral media is deleted (MSC4425).
pub fn delete(mxc: &Mxc) -> String {
    format!("/_matrix/client/unstable/org.matrix.msc4425/{}/{}", mxc.server_name, mxc.media_id)
}

/// The same under its stable name.
pub fn stable_delete(mxc: &Mxc) -> String {
    format!("/_matrix/client/v1/media/{}/{}", mxc.server_name, mxc.media_id)
}

/// `POST` an ephemeral upload here (MSC4425).
pub const EPHEMERAL_UPLOAD: &str = "/_matrix/media/v3/upload?org.matrix.msc4425.ephemeral=true";

/// `POST` here reserves a URI for a later ephemeral upload (MSC4425).
pub const EPHEMERAL_CREATE: &str = "/_matrix/media/v1/create?org.matrix.msc4425.ephemeral=true";

/// `POST` restricted media here (MSC3911).
pub const RESTRICTED_UPLOAD: &str = "/_matrix/client/unstable/org.matrix.msc3911/media/upload";

/// `POST` here reserves a URI for a later upload of restricted media (MSC3911).
pub const RESTRICTED_CREATE: &str = "/_matrix/client/unstable/org.matrix.msc3911/media/create";

/// The first of the two under its stable name.
pub const STABLE_RESTRICTED_UPLOAD: &str = "/_matrix/client/v1/media/upload";

/// `POST` here copies media (MSC3911).
pub fn copy(mxc: &Mxc) -> String {
    format!("/_matrix/client/unstable/org.matrix.msc3911/media/copy/{}/{}", mxc.server_name, mxc.media_id)
}

/// The same under its stable name.
pub fn stable_copy(mxc: &Mxc) -> String {
    format!("/_matrix/client/v1/media/copy/{}/{}", mxc.server_name, mxc.media_id)
}
