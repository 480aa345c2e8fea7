//! `GET /_matrix/client/v3/account/whoami`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use tintype_domain::{OwnedUserId, User};
use url::Url;

use crate::forward::Upstream;

/// The longest answer that is read, in bytes. Matrix errors and `whoami` answers take some hundred.
const MAX_ANSWER: usize = 64 * 1024;

/// As whom an application service wants to act (application service API, "Identity assertion").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Masquerade {
    /// `user_id` of the query.
    pub user_id: Option<String>,
    /// `device_id` of the query.
    pub device_id: Option<String>,
}

/// What a client shows to be let in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The access token.
    pub token: String,
    /// As whom its owner wants to act, if as somebody else.
    pub masquerade: Masquerade,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("masquerade", &self.masquerade).finish_non_exhaustive()
    }
}

/// From where a client asks: told to the homeserver, so that its list of sessions shows the client and not us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
}

/// A refusal in the homeserver's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status, a 4xx.
    pub status: u16,
    /// The body: a Matrix error.
    pub body: Bytes,
    /// `Retry-After`, if the homeserver sent one.
    pub retry_after: Option<String>,
}

/// Why nobody was recognised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HomeserverError {
    /// The homeserver refuses the token.
    #[error("the homeserver refused the access token with status {}", .0.status)]
    Refused(Refusal),
    /// The homeserver did not answer, or not as a homeserver would.
    #[error("the homeserver cannot be asked: {0}")]
    Unavailable(String),
}

/// A homeserver's client-server API.
#[derive(Clone)]
pub struct Homeserver {
    pub(crate) client: Client,
    whoami: Url,
    /// What the paths of the client-server API start with.
    pub(crate) client_api: Url,
    /// With what it is spoken to as an application service.
    pub(crate) appservice_token: Option<String>,
    /// Where what is passed on to it goes.
    pub(crate) upstream: Arc<Upstream>,
}

impl std::fmt::Debug for Homeserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Homeserver").field("client_api", &self.client_api.as_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct WhoAmI {
    user_id: OwnedUserId,
    device_id: Option<String>,
    #[serde(default, alias = "org.matrix.msc3069.is_guest")]
    is_guest: bool,
}

#[derive(Deserialize)]
struct MatrixError {
    #[serde(rename = "errcode")]
    _errcode: String,
}

impl Homeserver {
    /// A homeserver by its base URL, asked within `time_out` per request.
    ///
    /// # Errors
    /// [`HomeserverError::Unavailable`] if the URL cannot be a base or TLS cannot be set up.
    pub fn new(base: &Url, time_out: Duration) -> Result<Self, HomeserverError> {
        let unavailable = |error: &dyn std::error::Error| HomeserverError::Unavailable(chain(error));
        let client = http_client(time_out)?;
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let whoami = base.join("_matrix/client/v3/account/whoami").map_err(|error| unavailable(&error))?;
        let client_api = base.join("_matrix/client/").map_err(|error| unavailable(&error))?;
        let upstream = Arc::new(Upstream::new(&base).map_err(HomeserverError::Unavailable)?);
        Ok(Self { client, whoami, client_api, appservice_token: None, upstream })
    }

    /// The same, which can also be asked as an application service for each of its users.
    #[must_use]
    pub fn with_appservice_token(self, token: Option<String>) -> Self {
        Self { appservice_token: token, ..self }
    }

    /// Asks whose token this is. The answer's `admin` is always false: that is not the homeserver's to say.
    ///
    /// # Errors
    /// [`HomeserverError::Refused`] with the homeserver's own words if it does not accept the token;
    /// [`HomeserverError::Unavailable`] if it cannot be asked.
    pub async fn whoami(&self, credentials: &Credentials, asker: &Asker<'_>) -> Result<User, HomeserverError> {
        let Masquerade { user_id, device_id } = &credentials.masquerade;
        let query = [("user_id", user_id), ("device_id", device_id)];
        let query = query.iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect::<Vec<_>>();
        let mut request = self
            .client
            .get(self.whoami.clone())
            .query(&query)
            .bearer_auth(&credentials.token)
            .header("X-Forwarded-For", asker.address.to_string());
        if let Some(user_agent) = asker.user_agent {
            request = request.header(header::USER_AGENT, user_agent);
        }
        let response = request.send().await.map_err(|error| HomeserverError::Unavailable(chain(&error)))?;
        let status = response.status();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let body = read(response, MAX_ANSWER).await?;
        match status {
            StatusCode::OK => {
                let answer: WhoAmI = serde_json::from_slice(&body).map_err(|error| {
                    HomeserverError::Unavailable(format!("its answer to whoami is not understood: {error}"))
                })?;
                Ok(User { user_id: answer.user_id, device_id: answer.device_id, guest: answer.is_guest, admin: false })
            }
            // 400 is M_UNKNOWN_DEVICE for an application service; 429 is the homeserver's own limit.
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS
                if serde_json::from_slice::<MatrixError>(&body).is_ok() =>
            {
                Err(HomeserverError::Refused(Refusal { status: status.as_u16(), body, retry_after }))
            }
            _ => Err(HomeserverError::Unavailable(format!("it answered whoami with status {status}"))),
        }
    }
}

/// The one way to ask a homeserver: within a time, through no proxy, and without following a redirect, which would carry
/// the token to somebody else.
///
/// # Errors
/// [`HomeserverError::Unavailable`] if TLS cannot be set up.
pub fn http_client(time_out: Duration) -> Result<Client, HomeserverError> {
    // Fails only if a provider is installed already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .timeout(time_out)
            .connect_timeout(time_out)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
    };
    // A machine without certificates of authorities can have a homeserver without TLS.
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|error| HomeserverError::Unavailable(chain(&error)))
}

/// Reads an answer, and gives up on one that does not end.
pub(crate) async fn read(mut response: Response, at_most: usize) -> Result<Bytes, HomeserverError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| HomeserverError::Unavailable(chain(&error)))? {
        if body.len() + chunk.len() > at_most {
            return Err(HomeserverError::Unavailable("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
