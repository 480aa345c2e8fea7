//! `POST /_matrix/media/v1/create`, or the endpoint for restricted media: a URI first, its content later (MSC2246).

use std::{
    pin::Pin,
    time::{Duration, SystemTime},
};

use reqwest::{Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tintype_domain::Mxc;

use crate::{
    Client, Error, Lifetime,
    client::json,
    exchange::send,
    restricted::{self, Audience, no_endpoint},
    upload::RESTRICTED_AND_EPHEMERAL,
};

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
        Create { client: self.clone(), lifetime: Lifetime::default(), audience: Audience::default() }
    }
}

/// A reservation, which is asked for when it is awaited.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Create {
    client: Client,
    lifetime: Lifetime,
    audience: Audience,
}

impl Create {
    /// Media that can be deleted again (MSC4425): the same as [`Lifetime::Ephemeral`]. It holds for what is
    /// [`put`](Client::put) to the URI.
    pub fn ephemeral(self) -> Self {
        self.lifetime(Lifetime::Ephemeral)
    }

    /// Media that only the user sees until it is attached to an event or a profile (MSC3911). It holds for what is
    /// [`put`](Client::put) to the URI.
    pub fn restricted(self) -> Self {
        Self { audience: Audience::Restricted, ..self }
    }

    /// How long what is uploaded is to be kept.
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        Self { lifetime, ..self }
    }

    async fn send(self) -> Result<Reservation, Error> {
        let Self { client, lifetime, audience } = self;
        let idle = client.shared.idle;
        let request = match audience {
            Audience::Everyone => {
                let request = client.request(Method::POST, ["_matrix", "media", "v1", "create"]);
                lifetime.put_on(request, &client).await?
            }
            Audience::Restricted if lifetime != Lifetime::Kept => return Err(RESTRICTED_AND_EPHEMERAL),
            Audience::Restricted => client.request(Method::POST, restricted::CREATE),
        };
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let created: Created = json(send(request, idle).await?, idle).await.map_err(|error| match audience {
            Audience::Everyone => error,
            Audience::Restricted => no_endpoint(error),
        })?;
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
