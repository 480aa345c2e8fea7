//! `POST /_matrix/media/v1/create`: a URI first, its content later (MSC2246).

use std::{
    pin::Pin,
    time::{Duration, SystemTime},
};

use reqwest::{Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tintype_domain::Mxc;

use crate::{Client, Error, Lifetime, client::json, exchange::send};

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
    /// Reserves a URI, to which [`put`](Self::put) uploads; awaiting it gives the URI.
    ///
    /// The error is [`ErrorCode::LIMIT_EXCEEDED`](crate::ErrorCode::LIMIT_EXCEEDED) also if the user has too many
    /// reservations that wait for their uploads.
    pub fn create(&self) -> Create {
        Create { client: self.clone(), lifetime: Lifetime::default() }
    }
}

/// A reservation, which is asked for when it is awaited.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Create {
    client: Client,
    lifetime: Lifetime,
}

impl Create {
    /// Media that can be deleted again (MSC4425): the same as [`Lifetime::Ephemeral`]. It holds for what is
    /// [`put`](Client::put) to the URI.
    pub fn ephemeral(self) -> Self {
        self.lifetime(Lifetime::Ephemeral)
    }

    /// How long what is uploaded is to be kept.
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        Self { lifetime, ..self }
    }

    async fn send(self) -> Result<Reservation, Error> {
        let Self { client, lifetime } = self;
        let idle = client.shared.idle;
        let request = client.request(Method::POST, ["_matrix", "media", "v1", "create"]);
        let request = lifetime.put_on(request, &client).await?;
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let created: Created = json(send(request, idle).await?, idle).await?;
        let mxc = created.content_uri.parse().map_err(|error| Error::Answer(format!("content_uri: {error}")))?;
        let at = |millis| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
        Ok(Reservation { mxc, unused_expires_at: created.unused_expires_at.and_then(at) })
    }
}

impl IntoFuture for Create {
    type Output = Result<Reservation, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
