//! Servers that exchange media with each other: whatever each consists of, it has a name, an address for clients and
//! a user.

use std::sync::LazyLock;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::{
    certificates::Authority,
    nginx::Nginx,
    port,
    synapse::{Federation, MediaRepository, OldEndpoints, Synapse, http_client},
    tintype::Tintype,
};

// One for the whole process: whoever takes part trusts all others.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// A server that takes part in federation as `localhost:PORT`, as a user of it sees it.
#[derive(Debug)]
pub struct Site {
    url: String,
    server_name: String,
    token: String,
    http: reqwest::Client,
    // What it consists of ends with it.
    _synapse: Option<Synapse>,
    _tintype: Option<Tintype>,
    _nginx: Option<Nginx>,
}

/// Media that a user has uploaded.
#[derive(Clone, Debug)]
pub struct Media {
    /// `SERVER_NAME/MEDIA_ID`, as it stands in paths.
    pub path: String,
}

impl Site {
    /// A Synapse with its own media repository.
    pub async fn synapse(old_endpoints: OldEndpoints) -> Self {
        let federation = place(old_endpoints);
        let synapse = Synapse::start_federating(MediaRepository::BuiltIn, federation).await;
        let url = synapse.url().to_owned();
        let token = synapse.register("alice").await.token;
        Self::new(url, federation.port, token, (Some(synapse), None, None))
    }

    /// A Synapse with Tintype as its media repository; nginx stands in front of both.
    pub async fn tintype_beside_synapse() -> Self {
        let federation = place(OldEndpoints::Frozen);
        let synapse = Synapse::start_federating(MediaRepository::Elsewhere, federation).await;
        let tintype = Tintype::start_federating(&synapse, federation).await;
        let (media, homeserver) = (tintype.address(), synapse.address());
        let nginx = Nginx::start_federating(&AUTHORITY, federation.port, &media, &homeserver).await;
        let url = nginx.url();
        let token = synapse.register("alice").await.token;
        Self::new(url, federation.port, token, (Some(synapse), Some(tintype), Some(nginx)))
    }

    /// A Tintype with TLS and accounts of its own, and nothing else.
    pub async fn tintype_alone(old_endpoints: OldEndpoints) -> Self {
        let federation = place(old_endpoints);
        let tintype = Tintype::start_alone(federation).await;
        let url = format!("http://{}", tintype.address());
        let token = tintype.token("alice").await;
        Self::new(url, federation.port, token, (None, Some(tintype), None))
    }

    fn new(
        url: String,
        port: u16,
        token: String,
        (synapse, tintype, nginx): (Option<Synapse>, Option<Tintype>, Option<Nginx>),
    ) -> Self {
        let server_name = format!("localhost:{port}");
        Self { url, server_name, token, http: http_client(), _synapse: synapse, _tintype: tintype, _nginx: nginx }
    }

    /// The server name.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("every URL here ends with a port")
    }

    /// The header line, ended by CRLF, that says who the user is.
    pub fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// Uploads some media and returns where it is.
    pub async fn upload(&self, content_type: &str, filename: &str, bytes: Vec<u8>) -> Media {
        let request = self.http.post(format!("{}/_matrix/media/v3/upload", self.url));
        let request = request.query(&[("filename", filename)]).header("Content-Type", content_type).body(bytes);
        self.media(request).await
    }

    /// Reserves a URI for an upload that comes later.
    pub async fn reserve(&self) -> Media {
        self.media(self.http.post(format!("{}/_matrix/media/v1/create", self.url))).await
    }

    /// Asks for media with the user's token.
    pub async fn download(&self, media: &Media) -> Response {
        let path = format!("/_matrix/client/v1/media/download/{}", media.path);
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    /// Asks with the user's token for a thumbnail that fits into 320 by 240 pixels.
    pub async fn thumbnail(&self, media: &Media) -> Response {
        let path = format!("/_matrix/client/v1/media/thumbnail/{}?width=320&height=240&method=scale", media.path);
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    /// Asks for media at the old endpoint, without a token.
    pub async fn download_as_before(&self, media: &Media) -> Response {
        let path = format!("/_matrix/media/v3/download/{}", media.path);
        self.http.get(format!("{}{path}", self.url)).send().await.expect("the server answers")
    }

    async fn media(&self, request: RequestBuilder) -> Media {
        let answer = self.send(request).await;
        let status = answer.status();
        let answer: Value = answer.json().await.expect("the answer is JSON");
        assert_eq!(status, StatusCode::OK, "{answer}");
        let uri = answer["content_uri"].as_str().expect("media has a URI");
        let path = uri.strip_prefix("mxc://").expect("it is an MXC URI").to_owned();
        assert!(path.starts_with(&format!("{}/", self.server_name)), "{uri}");
        Media { path }
    }

    async fn send(&self, request: RequestBuilder) -> Response {
        request.bearer_auth(&self.token).send().await.expect("the server answers")
    }
}

/// A place in the federation of this process, at a port that nobody else has.
pub fn place(old_endpoints: OldEndpoints) -> Federation<'static> {
    Federation { authority: &AUTHORITY, port: port::free(), old_endpoints }
}
