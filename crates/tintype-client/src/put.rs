//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`: the content of a reservation (MSC2246).
//!
//! A plain `PUT` is one request: if it breaks, nothing of it is kept. The resumable way is in `resumable`.

use std::{fmt, pin::Pin};

use reqwest::Method;
use tintype_domain::Mxc;

use crate::{
    Client, Error, Event, Source,
    client::success,
    exchange::{Content, send_content},
    retry::Listener,
    upload::Label,
};

/// The path, without the two parts of the URI.
pub(crate) const UPLOAD: &[&str] = &["_matrix", "media", "v3", "upload"];

/// Whether an interrupted upload goes on where it stopped (*Resumable Uploads for HTTP*,
/// draft-ietf-httpbis-resumable-upload).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resumable {
    /// If the server says that it can, and the source can be read again.
    #[default]
    IfPossible,
    /// Without asking the server whether it can.
    Always,
    /// Never: one plain request.
    Never,
}

impl Client {
    /// Uploads the content of a reservation, once.
    ///
    /// Readers that wait for the media see it arrive. Where the server takes resumable uploads and the source can be
    /// read again (bytes, a file), an interrupted upload goes on from what the server has, as often as the client's
    /// [`Retry`](crate::Retry) allows; see [`Put::resumable`].
    pub fn put(&self, mxc: &Mxc, source: impl Into<Source>) -> Put {
        Put {
            client: self.clone(),
            mxc: mxc.clone(),
            source: source.into(),
            label: Label::default(),
            resumable: Resumable::default(),
            start: Start::Clean,
            listener: Listener::default(),
        }
    }
}

/// An upload to a reservation, which is sent when it is awaited.
#[must_use = "nothing is sent before it is awaited"]
pub struct Put {
    pub(crate) client: Client,
    pub(crate) mxc: Mxc,
    pub(crate) source: Source,
    pub(crate) label: Label,
    pub(crate) resumable: Resumable,
    pub(crate) start: Start,
    pub(crate) listener: Listener,
}

/// Where an upload begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the first byte; what an earlier one left is dropped.
    Clean,
    /// After what the server has of an earlier one.
    WhereItStopped,
}

impl Put {
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

    /// Whether it is to be resumable.
    pub fn resumable(mut self, resumable: Resumable) -> Self {
        self.resumable = resumable;
        self
    }

    /// Goes on with an upload that an earlier process began, of the same content: what the server has of it is not
    /// sent, and not compared either. Always resumable. The type and the name are those of the earlier one, unless the
    /// server has nothing.
    pub fn continuing(mut self) -> Self {
        self.start = Start::WhereItStopped;
        self
    }

    /// Is told how far it is, and when it is interrupted and goes on.
    pub fn on_event(mut self, listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    async fn send(self) -> Result<(), Error> {
        let again = self.source.can_be_read_again();
        let resumable = match self.resumable {
            _ if self.start == Start::WhereItStopped => true,
            Resumable::IfPossible => again && self.client.takes_resumable_uploads(&self.mxc).await?,
            Resumable::Always => true,
            Resumable::Never => false,
        };
        match (resumable, again) {
            (true, true) => self.send_resumably().await,
            (true, false) => Err(Error::SourceReadOnce),
            (false, _) => self.send_plainly().await,
        }
    }

    async fn send_plainly(self) -> Result<(), Error> {
        let idle = self.client.shared.idle;
        let request = self.client.media_request(Method::PUT, UPLOAD, &self.mxc);
        let announced = self.source.length();
        let content = Content { pieces: self.source.into_pieces(), at: 0, announced };
        let response = send_content(self.label.put_on(request)?, content, self.listener, idle).await?;
        success(response, idle).await.map(drop)
    }
}

impl IntoFuture for Put {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put")
            .field("mxc", &self.mxc)
            .field("source", &self.source)
            .field("label", &self.label)
            .field("resumable", &self.resumable)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
