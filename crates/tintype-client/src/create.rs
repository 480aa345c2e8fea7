//! `POST /_matrix/media/v1/create`: a URI first, its content later (MSC2246).

use std::time::{Duration, SystemTime};

use reqwest::{Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tintype_domain::Mxc;

use crate::{Client, Error, client::json, exchange::send};

/// A URI that has no content yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The URI: it can be sent in events at once.
    pub mxc: Mxc,
    /// When the reservation ends if nothing was uploaded, by the server's clock; `None` if the server does not say.
    pub unused_expires_at: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Created {
    content_uri: String,
    /// In milliseconds since the Unix epoch.
    unused_expires_at: Option<u64>,
}

impl Client {
    /// Reserves a URI, to which [`put`](Self::put) uploads.
    ///
    /// # Errors
    /// [`ErrorCode::LIMIT_EXCEEDED`](crate::ErrorCode::LIMIT_EXCEEDED) also if the user has too many reservations that
    /// wait for their uploads.
    pub async fn create(&self) -> Result<Reservation, Error> {
        let request = self.request(Method::POST, ["_matrix", "media", "v1", "create"]);
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let created: Created = json(send(request, self.shared.idle).await?, self.shared.idle).await?;
        let mxc = created.content_uri.parse().map_err(|error| Error::Answer(format!("content_uri: {error}")))?;
        let at = |millis| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
        Ok(Reservation { mxc, unused_expires_at: created.unused_expires_at.and_then(at) })
    }
}
