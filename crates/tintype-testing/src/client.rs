//! Somebody who talks to the server: a user with a token, a guest, or nobody in particular.
//!
//! Each request has a connection of its own, and its target is sent as it is written: a client that tidies paths up
//! could not ask for `..`.

use std::{
    future::{Future, IntoFuture},
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tintype_domain::Mxc;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{
    Connection, paths, tls,
    transfer::{Framing, Receiving, Sending},
    wait::PATIENCE,
};

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    /// With TLS, where a certificate of this host is expected.
    Tls(SocketAddr, String),
    Unix(PathBuf),
}

/// Somebody who makes requests.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    token: Option<String>,
    host: Option<String>,
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Client {
    pub(crate) fn new(target: Target, token: Option<String>) -> Self {
        Self { target, token, host: None }
    }

    /// A client of the server that listens at this address.
    pub fn of_address(address: SocketAddr) -> Self {
        Self::new(Target::Tcp(address), None)
    }

    /// A client of the server that listens on this Unix socket.
    pub fn of_socket(path: impl Into<PathBuf>) -> Self {
        Self::new(Target::Unix(path.into()), None)
    }

    /// The same, by another way.
    pub(crate) fn by_way_of(&self, target: Target) -> Self {
        Self { target, ..self.clone() }
    }

    /// The same, asking for another host.
    #[must_use]
    pub fn at_host(&self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self.clone() }
    }

    /// The same, with this access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The access token.
    ///
    /// # Panics
    /// If there is none.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("the client has an access token")
    }

    /// A request for `path`, which is sent when it is awaited.
    pub fn request(&self, method: Method, path: impl Into<String>) -> Request {
        let request = Request {
            target: self.target.clone(),
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let host = self.host.as_deref().unwrap_or("localhost");
        let request = request.header("host", host);
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// A `GET` request.
    pub fn get(&self, path: impl Into<String>) -> Request {
        self.request(Method::GET, path)
    }

    /// A `HEAD` request.
    pub fn head(&self, path: impl Into<String>) -> Request {
        self.request(Method::HEAD, path)
    }

    /// A `POST` request.
    pub fn post(&self, path: impl Into<String>) -> Request {
        self.request(Method::POST, path)
    }

    /// A `PUT` to a reserved URI.
    pub fn put(&self, mxc: &Mxc) -> Request {
        self.request(Method::PUT, paths::put(mxc))
    }

    /// A `PATCH` that continues an upload at `offset`.
    pub fn patch(&self, mxc: &Mxc, offset: usize) -> Request {
        self.request(Method::PATCH, paths::put(mxc))
            .header("content-type", "application/partial-upload")
            .header("upload-offset", offset.to_string())
    }

    /// A reserved URI.
    ///
    /// # Panics
    /// If none is given.
    pub async fn create(&self) -> Mxc {
        self.post(paths::CREATE).await.mxc()
    }

    /// An upload that is expected to succeed: awaiting it gives the URI.
    pub fn upload(&self, body: impl Into<Bytes>) -> UploadRequest {
        UploadRequest { client: self.clone(), body: body.into(), content_type: None, filename: None }
    }
}

/// A request that is sent when it is awaited.
pub struct Request {
    target: Target,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// Adds a header, whatever its bytes are.
    ///
    /// # Panics
    /// If it is no header at all.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().expect("a test sends a valid header name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a test sends a valid header value");
        self.headers.append(name, value);
        self
    }

    /// Sends a body, and its length in `Content-Length`.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Says that the upload ends with this body.
    #[must_use]
    pub fn complete(self) -> Self {
        self.header("upload-complete", "?1")
    }

    /// Says that more of the upload follows in other requests.
    #[must_use]
    pub fn incomplete(self) -> Self {
        self.header("upload-complete", "?0")
    }

    /// Begins the request: the test sends its body, of `length` bytes, piece by piece.
    pub async fn feed(self, length: usize) -> Sending {
        let request = self.header("content-length", length.to_string());
        Sending::begin(request.connect().await, request.head(), Framing::Length(length)).await
    }

    /// Begins the request: the test sends its body piece by piece, and says only at its end how long it was.
    pub async fn feed_chunked(self) -> Sending {
        let request = self.header("transfer-encoding", "chunked");
        Sending::begin(request.connect().await, request.head(), Framing::Chunked).await
    }

    /// Sends the request: the test reads the body of the answer, whose head is there, piece by piece.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn open(self) -> Receiving {
        self.open_or_end().await.expect("the server answers before the connection ends")
    }

    /// Sends the request and reads no more than the status of the answer: what is asked for again and again until it is
    /// gone may go while its bytes are on their way, and then the connection is cut. None if it was cut before the answer.
    pub async fn status(self) -> Option<u16> {
        self.open_or_end().await.map(|receiving| receiving.status())
    }

    /// Sends it as [`Request::open`] does; nothing if the server ends the connection without an answer.
    pub async fn open_or_end(self) -> Option<Receiving> {
        let request = match self.body.len() {
            0 => self,
            length => self.header("content-length", length.to_string()),
        };
        let mut connection = request.connect().await;
        connection.send([&request.head()[..], &request.body[..]].concat()).await;
        Receiving::begin(connection, &request.method).await
    }

    async fn connect(&self) -> Connection {
        match &self.target {
            Target::Tcp(address) => Connection::open(*address).await,
            Target::Tls(address, host) => Connection::open_tls(*address, host).await,
            Target::Unix(_) => panic!("transfers piece by piece are made over TCP"),
        }
    }

    /// The head as it is sent.
    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

impl IntoFuture for Request {
    type Output = Response;
    type IntoFuture = Answer<Response>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async {
            let what = format!("{} {}", self.method, self.path);
            let answer = timeout(PATIENCE, send(self)).await;
            answer.unwrap_or_else(|_| panic!("{what}: no answer")).unwrap_or_else(|error| panic!("{what}: {error:#}"))
        })
    }
}

async fn send(request: Request) -> anyhow::Result<Response> {
    let mut message = http::Request::new(Full::new(request.body));
    *message.method_mut() = request.method;
    *message.uri_mut() = request.path.parse()?;
    *message.headers_mut() = request.headers;
    match request.target {
        Target::Tcp(address) => exchange(TokioIo::new(TcpStream::connect(address).await?), message).await,
        Target::Tls(address, host) => {
            let stream = tls::connect(TcpStream::connect(address).await?, &host).await?;
            exchange(TokioIo::new(stream), message).await
        }
        Target::Unix(path) => exchange(TokioIo::new(UnixStream::connect(path).await?), message).await,
    }
}

async fn exchange<S>(stream: S, message: http::Request<Full<Bytes>>) -> anyhow::Result<Response>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(message).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Response { status: parts.status, headers: parts.headers, body })
}

/// An upload that is sent when it is awaited.
pub struct UploadRequest {
    client: Client,
    body: Bytes,
    content_type: Option<Vec<u8>>,
    filename: Option<String>,
}

impl UploadRequest {
    /// Sends a `Content-Type`.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sends a file name.
    #[must_use]
    pub fn filename(mut self, filename: impl Into<String>) -> Self {
        self.filename = Some(filename.into());
        self
    }
}

impl IntoFuture for UploadRequest {
    type Output = Mxc;
    type IntoFuture = Answer<Mxc>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let path = match self.filename {
                Some(name) => format!("{}?filename={}", paths::UPLOAD, utf8_percent_encode(&name, NON_ALPHANUMERIC)),
                None => paths::UPLOAD.to_owned(),
            };
            let mut request = self.client.post(path).body(self.body);
            if let Some(content_type) = self.content_type {
                request = request.header("content-type", content_type);
            }
            request.await.mxc()
        })
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header's value as text; empty if there is no such header.
    ///
    /// # Panics
    /// If it is there more than once, or holds more than visible ASCII.
    pub fn header(&self, name: &str) -> &str {
        std::str::from_utf8(self.header_bytes(name)).expect("the header is text")
    }

    /// A header's value; empty if there is no such header.
    ///
    /// # Panics
    /// If it is there more than once.
    pub fn header_bytes(&self, name: &str) -> &[u8] {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(HeaderValue::as_bytes).unwrap_or_default();
        assert!(values.next().is_none(), "{name} is there more than once");
        value
    }

    /// The value of `Content-Length`.
    ///
    /// # Panics
    /// If it is not there.
    pub fn content_length(&self) -> usize {
        self.header(header::CONTENT_LENGTH.as_str()).parse().expect("the answer says how long it is")
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON, or is not said to be.
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The status and the code of a Matrix error.
    ///
    /// # Panics
    /// If it is not a Matrix error: an object with `errcode` and `error`.
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        assert!(body["error"].is_string(), "no text in {body}");
        (self.status(), body["errcode"].as_str().expect("a Matrix error has a code").to_owned())
    }

    /// The URI that an upload was given.
    ///
    /// # Panics
    /// If the upload failed.
    pub fn mxc(&self) -> Mxc {
        assert_eq!(self.status(), 200, "the upload failed: {self:?}");
        let body = self.json();
        body["content_uri"].as_str().and_then(|uri| uri.parse().ok()).expect("an upload is given an MXC URI")
    }
}
