//! `POST /_matrix/media/v3/upload`, or the endpoint for restricted media: bytes in, a new URI out.

use std::{fmt, pin::Pin};

use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde::Deserialize;
use tintype_domain::Mxc;

use crate::{
    Client, Error, Event, Lifetime, Source,
    client::json,
    exchange::{Content, send_content},
    restricted::{self, Audience, no_endpoint},
    retry::Listener,
};

impl Client {
    /// Uploads media; awaiting it gives its URI. It is sent once: nothing is tried again.
    ///
    /// Client-server API, `POST /_matrix/media/v3/upload`.
    pub fn upload(&self, source: impl Into<Source>) -> Upload {
        Upload {
            client: self.clone(),
            source: source.into(),
            label: Label::default(),
            lifetime: Lifetime::default(),
            audience: Audience::default(),
            listener: Listener::default(),
        }
    }
}

/// An upload, which is sent when it is awaited.
#[must_use = "nothing is sent before it is awaited"]
pub struct Upload {
    client: Client,
    source: Source,
    label: Label,
    lifetime: Lifetime,
    audience: Audience,
    listener: Listener,
}

impl Upload {
    /// What kind of media it is; `application/octet-stream` if nothing is given.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.label.content_type = Some(content_type.into());
        self
    }

    /// What it is called. Whoever may download the media can read it.
    pub fn filename(mut self, filename: impl Into<String>) -> Self {
        self.label.filename = Some(filename.into());
        self
    }

    /// Media that can be deleted again (MSC4425): the same as [`Lifetime::Ephemeral`].
    pub fn ephemeral(self) -> Self {
        self.lifetime(Lifetime::Ephemeral)
    }

    /// Media that only the user sees until it is attached to an event or a profile (MSC3911). A server that does not have
    /// this stores nothing: that fails with [`Error::NoRestrictedMedia`].
    pub fn restricted(mut self) -> Self {
        self.audience = Audience::Restricted;
        self
    }

    /// How long it is to be kept.
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Is told how far it is.
    pub fn on_event(mut self, listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    async fn send(self) -> Result<Mxc, Error> {
        let idle = self.client.shared.idle;
        let request = match self.audience {
            Audience::Everyone => {
                let request = self.client.request(Method::POST, ["_matrix", "media", "v3", "upload"]);
                self.lifetime.put_on(request, &self.client).await?
            }
            Audience::Restricted if self.lifetime != Lifetime::Kept => return Err(RESTRICTED_AND_EPHEMERAL),
            Audience::Restricted => self.client.request(Method::POST, restricted::UPLOAD),
        };
        let announced = self.source.length();
        let content = Content { pieces: self.source.into_pieces(), at: 0, announced };
        let response = send_content(self.label.put_on(request)?, content, self.listener, idle).await?;
        let Uploaded { content_uri } = json(response, idle).await.map_err(|error| match self.audience {
            Audience::Everyone => error,
            Audience::Restricted => no_endpoint(error),
        })?;
        content_uri.parse().map_err(|error| Error::Answer(format!("content_uri: {error}")))
    }
}

/// Media that goes into events is not to vanish.
pub(crate) const RESTRICTED_AND_EPHEMERAL: Error = Error::Invalid("restricted media cannot be ephemeral");

#[derive(Deserialize)]
struct Uploaded {
    content_uri: String,
}

impl IntoFuture for Upload {
    type Output = Result<Mxc, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("source", &self.source)
            .field("label", &self.label)
            .field("lifetime", &self.lifetime)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// What is said of media beside its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Label {
    pub(crate) content_type: Option<String>,
    pub(crate) filename: Option<String>,
}

impl Label {
    pub(crate) fn put_on(&self, mut request: RequestBuilder) -> Result<RequestBuilder, Error> {
        if let Some(content_type) = &self.content_type {
            let value = content_type.parse::<reqwest::header::HeaderValue>();
            request = request.header(CONTENT_TYPE, value.map_err(|_| Error::Invalid("a content type is one line"))?);
        }
        if let Some(filename) = &self.filename {
            request = request.query(&[("filename", filename)]);
        }
        Ok(request)
    }
}
