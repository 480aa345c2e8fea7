//! What the server has beyond the specification: the flags of `/_matrix/client/versions`, and whether it takes
//! resumable uploads.
//!
//! `/_matrix/client/versions` says the latter where Tintype answers it. Behind a proxy that path often belongs to a
//! homeserver, which knows nothing of it; then `OPTIONS` on the upload's own path does, as the draft of resumable uploads
//! has it ("Limits": a resource that supports them includes `Upload-Limit`).

use std::collections::HashMap;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tintype_domain::Mxc;
use tintype_http::resumable::UPLOAD_LIMIT;

use crate::{Client, Error, client::json, exchange::send, put::UPLOAD};

/// The flag in `unstable_features`.
const FLAG: &str = "io.github.tintype.resumable_uploads";

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    unstable_features: HashMap<String, bool>,
}

impl Client {
    /// Whether the server takes resumable uploads. It is asked once.
    ///
    /// # Errors
    /// If the server cannot be asked. That it does not know the question is no error.
    pub(crate) async fn takes_resumable_uploads(&self, mxc: &Mxc) -> Result<bool, Error> {
        let known = self.shared.resumable_uploads.get_or_try_init(async || {
            Ok::<_, Error>(self.versions_have_it().await? || self.options_have_it(mxc).await?)
        });
        known.await.copied()
    }

    async fn versions_have_it(&self) -> Result<bool, Error> {
        Ok(self.unstable_features().await?.get(FLAG).is_some_and(|on| *on))
    }

    /// The flags in `unstable_features` of `GET /_matrix/client/versions`; none if something answers there that is not
    /// a homeserver, or not well. That decides nothing: whoever asks for a flag has a second way to find out.
    pub(crate) async fn unstable_features(&self) -> Result<HashMap<String, bool>, Error> {
        let idle = self.shared.idle;
        let response = send(self.request(Method::GET, ["_matrix", "client", "versions"]), idle).await?;
        if response.status() != StatusCode::OK {
            return Ok(HashMap::new());
        }
        match json::<Versions>(response, idle).await {
            Ok(versions) => Ok(versions.unstable_features),
            Err(Error::Answer(_)) => Ok(HashMap::new()),
            Err(error) => Err(error),
        }
    }

    async fn options_have_it(&self, mxc: &Mxc) -> Result<bool, Error> {
        let response = send(self.media_request(Method::OPTIONS, UPLOAD, mxc), self.shared.idle).await?;
        Ok(response.status().is_success() && response.headers().contains_key(UPLOAD_LIMIT))
    }
}
