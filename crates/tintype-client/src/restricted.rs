//! Restricted media (MSC3911): for its uploader, until it is sent with an event or put on a profile, and then for those who
//! may see that.
//!
//! It has endpoints of its own, so a server that does not know of it takes nothing for something else: it says that there
//! is no such endpoint. The proposal is not accepted yet, so its unstable names are asked.

use reqwest::{Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tintype_domain::Mxc;

use crate::{Client, Error, ErrorCode, client::json, exchange::send};

/// Where uploads go.
pub(crate) const UPLOAD: [&str; 6] = endpoint("upload");
/// Where URIs are reserved.
pub(crate) const CREATE: [&str; 6] = endpoint("create");
/// Where media is copied.
const COPY: [&str; 6] = endpoint("copy");

const fn endpoint(verb: &'static str) -> [&'static str; 6] {
    ["_matrix", "client", "unstable", "org.matrix.msc3911", "media", verb]
}

/// Who is to see new media.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody with an account.
    #[default]
    Everyone,
    /// Its uploader, until it is attached to something.
    Restricted,
}

#[derive(Deserialize)]
struct Copied {
    content_uri: String,
}

impl Client {
    /// Copies media that the user may see, and gives the URI of the copy: the same bytes, as new restricted media of the
    /// user's own (MSC3911). Whoever forwards a message needs one, since what is attached to one event cannot be attached
    /// to another. The source is waited for as long as the server likes if it is not uploaded yet.
    ///
    /// # Errors
    /// [`Error::NoRestrictedMedia`] if the server has no such endpoint. [`ErrorCode::UNAUTHORIZED`] if the user may not
    /// see the source, [`ErrorCode::FORBIDDEN`] if it is ephemeral.
    pub async fn copy(&self, mxc: &Mxc) -> Result<Mxc, Error> {
        let idle = self.shared.idle;
        let request = self.media_request(Method::POST, &COPY, mxc);
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let Copied { content_uri } = json(send(request, idle).await?, idle).await.map_err(no_endpoint)?;
        content_uri.parse().map_err(|error| Error::Answer(format!("content_uri: {error}")))
    }
}

/// What a server says that does not know of restricted media.
pub(crate) fn no_endpoint(error: Error) -> Error {
    match (error.status(), error.errcode()) {
        (_, Some(code)) if *code == ErrorCode::UNRECOGNIZED => Error::NoRestrictedMedia,
        // A proxy that does not lead there.
        (Some(404 | 405), None) => Error::NoRestrictedMedia,
        _ => error,
    }
}
