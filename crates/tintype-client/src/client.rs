//! The client: where the server is, who asks, and how patiently.
//!
//! It is cheap to clone, and all clones share their connections. Each verb has a file of its own and adds its method
//! there.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::de::DeserializeOwned;
use tintype_domain::Mxc;
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    EphemeralSupport, Error, MatrixError, Retry, header,
    http::{Proxy, http_client},
    retry::FAR_OFF,
};

/// The longest answer that is no media, in bytes. They take some hundred.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How long nothing may move: longer than a server holds the readers of an upload that was interrupted.
const IDLE: Duration = Duration::from_mins(2);

/// A client of one server, on behalf of one user.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tintype_client::{Client, Source};
///
/// let client = Client::builder("https://matrix.example.org".parse()?).access_token("secret").build()?;
/// let reservation = client.create().await?;
/// // … send an event with reservation.mxc; then:
/// let file = Source::file("film.mp4").await?;
/// client.put(&reservation.mxc, file).content_type("video/mp4").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    pub(crate) idle: Duration,
    pub(crate) retry: Retry,
    /// Whether the server takes resumable uploads, once it is known.
    pub(crate) resumable_uploads: OnceCell<bool>,
    /// Whether the server has ephemeral media, once it is known.
    pub(crate) ephemeral_support: OnceCell<EphemeralSupport>,
}

/// What a [`Client`] is made from.
#[derive(Clone)]
pub struct ClientBuilder {
    base: Url,
    access_token: Option<String>,
    user_agent: String,
    idle: Duration,
    retry: Retry,
    proxy: Proxy,
}

impl Client {
    /// A client of the server with this base URL, such as `https://matrix.example.org`; a path in it is kept.
    pub fn builder(base: Url) -> ClientBuilder {
        ClientBuilder {
            base,
            access_token: None,
            user_agent: concat!("tintype-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            idle: IDLE,
            retry: Retry::default(),
            proxy: Proxy::default(),
        }
    }

    /// A request to this path, given in its segments.
    pub(crate) fn request<'a>(&self, method: Method, path: impl IntoIterator<Item = &'a str>) -> RequestBuilder {
        let mut url = self.shared.base.clone();
        url.path_segments_mut().expect("a base URL with a host has a path").pop_if_empty().extend(path);
        let request = self.shared.http.request(method, url);
        match &self.shared.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    /// A request to a path that ends in the two parts of an MXC URI.
    pub(crate) fn media_request(&self, method: Method, path: &[&str], mxc: &Mxc) -> RequestBuilder {
        let parts = [mxc.server_name.as_str(), mxc.media_id.as_str()];
        self.request(method, path.iter().copied().chain(parts))
    }
}

impl ClientBuilder {
    /// The user's access token.
    #[must_use]
    pub fn access_token(self, token: impl Into<String>) -> Self {
        Self { access_token: Some(token.into()), ..self }
    }

    /// What `User-Agent` says; the name and version of this library if nothing is given.
    #[must_use]
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// For how long nothing may move before a connection counts as broken; two minutes if nothing is given. Waiting for
    /// media that is not uploaded yet comes on top of it.
    #[must_use]
    pub fn idle_timeout(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// How often an interrupted transfer goes on.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Through which proxy requests go.
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        Self { proxy, ..self }
    }

    /// The client.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the base URL or the token cannot be used; [`Error::Transport`] if TLS cannot be set up.
    pub fn build(self) -> Result<Client, Error> {
        if !matches!(self.base.scheme(), "http" | "https") || self.base.host().is_none() {
            return Err(Error::Invalid("a base URL begins with https:// or http:// and names a host"));
        }
        if !self.base.username().is_empty() || self.base.password().is_some() {
            return Err(Error::Invalid("a base URL has no user name and no password"));
        }
        let authorization = self.access_token.map(|token| authorization(&token)).transpose()?;
        let mut base = self.base;
        base.set_query(None);
        base.set_fragment(None);
        let shared = Shared {
            http: http_client(&self.user_agent, self.proxy)?,
            base,
            authorization,
            idle: self.idle.min(FAR_OFF),
            retry: self.retry,
            resumable_uploads: OnceCell::new(),
            ephemeral_support: OnceCell::new(),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

fn authorization(token: &str) -> Result<HeaderValue, Error> {
    let invalid = Error::Invalid("an access token is one line of visible ASCII");
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| invalid)?;
    // It is left out wherever headers are printed.
    value.set_sensitive(true);
    Ok(value)
}

/// The answer, if it is a success.
pub(crate) async fn success(response: Response, idle: Duration) -> Result<Response, Error> {
    if response.status().is_success() { Ok(response) } else { Err(refusal(response, idle).await) }
}

/// Why the server refused.
pub(crate) async fn refusal(response: Response, idle: Duration) -> Error {
    let status = response.status().as_u16();
    let retry_after = header::retry_after(response.headers());
    // An answer that cannot be read says no more than its status.
    let body = body(response, idle).await.unwrap_or_default();
    match MatrixError::parse(status, retry_after, &body) {
        Some(error) => Error::Matrix(error),
        None => Error::Status { status, retry_after },
    }
}

/// What a successful answer says.
pub(crate) async fn json<T: DeserializeOwned>(response: Response, idle: Duration) -> Result<T, Error> {
    let body = body(success(response, idle).await?, idle).await?;
    serde_json::from_slice(&body).map_err(|error| Error::Answer(error.to_string()))
}

/// A body that is no media, read within limits.
pub(crate) async fn body(mut response: Response, idle: Duration) -> Result<Bytes, Error> {
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(Bytes::new());
    }
    let mut body = BytesMut::new();
    let read = async {
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > LONGEST_ANSWER {
                return Err(Error::Answer("it is too long".to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        Ok(())
    };
    tokio::time::timeout(idle, read).await.map_err(|_| Error::timed_out())??;
    Ok(body.freeze())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.shared.base.as_str()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(base: &str) -> Client {
        Client::builder(base.parse().unwrap()).access_token("s3cret").build().unwrap()
    }

    fn url(base: &str, path: &[&str]) -> String {
        client(base).request(Method::GET, path.iter().copied()).build().unwrap().url().to_string()
    }

    #[test]
    fn paths_follow_the_base_url() {
        for base in ["https://example.org", "https://example.org/", "https://example.org/?a=b#c"] {
            assert_eq!(url(base, &["_matrix", "media"]), "https://example.org/_matrix/media");
        }
        for base in ["https://example.org:8448/below", "https://example.org:8448/below/"] {
            assert_eq!(url(base, &["a", "b c/d"]), "https://example.org:8448/below/a/b%20c%2Fd");
        }
    }

    #[test]
    fn a_base_url_that_cannot_be_one_is_refused() {
        for base in ["ftp://example.org", "mailto:a@example.org", "https://user:password@example.org", "data:,x"] {
            let built = Client::builder(base.parse().unwrap()).build();
            assert!(matches!(built, Err(Error::Invalid(_))), "{base}");
        }
    }

    #[test]
    fn the_token_is_never_printed() {
        let client = client("https://example.org");
        let request = client.request(Method::GET, ["a"]);
        let builder = Client::builder("https://example.org".parse().unwrap()).access_token("s3cret");

        for printed in [format!("{client:?}"), format!("{builder:?}"), format!("{request:?}")] {
            assert!(!printed.contains("s3cret"), "{printed}");
        }
        for token in ["s3cret\n", "s3 cret", "", "s3cre\u{7f}", "s3cré"] {
            let error =
                Client::builder("https://example.org".parse().unwrap()).access_token(token).build().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3"), "{error:?}");
        }
    }
}
