//! A connection on which a test sends what no HTTP client would: half a request, two at once, or nothing.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{Response, tls, wait::PATIENCE};

/// What bytes are sent and read on.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A TCP connection to the server. Dropping it closes it.
pub struct Connection {
    stream: Box<dyn Stream>,
    /// What was read beyond the last answer.
    ahead: BytesMut,
}

impl Connection {
    /// A new connection, on which nothing was sent.
    ///
    /// # Panics
    /// If nobody accepts it.
    pub async fn open(address: SocketAddr) -> Self {
        Self::on(connect(address).await)
    }

    /// A new connection, on which nothing was sent but what TLS needs; a certificate of this host is expected.
    pub(crate) async fn open_tls(address: SocketAddr, host: &str) -> Self {
        let agreed = timeout(PATIENCE, tls::connect(connect(address).await, host)).await;
        Self::on(agreed.expect("the server answers").expect("the server speaks TLS"))
    }

    fn on(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), ahead: BytesMut::new() }
    }

    /// Sends these bytes, all of them.
    ///
    /// # Panics
    /// If the server does not take them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        });
        sent.await.expect("the server reads").expect("the connection lives");
    }

    /// The next answer, whose length is in its `Content-Length` (none is no body).
    ///
    /// # Panics
    /// If none comes.
    pub async fn response(&mut self) -> Response {
        let head = self.head().await;
        self.response_after(head).await
    }

    /// The answer that begins with this head.
    pub(crate) async fn response_after(&mut self, (status, headers): (StatusCode, HeaderMap)) -> Response {
        let length = headers.get("content-length").map_or(0, |length| {
            length.to_str().ok().and_then(|length| length.parse().ok()).expect("the length is a number")
        });
        let body = self.bytes(length).await;
        Response { status, headers, body }
    }

    /// The head of the next answer; its body is still to be read.
    ///
    /// # Panics
    /// If none comes.
    pub async fn head(&mut self) -> (StatusCode, HeaderMap) {
        self.head_or_end().await.expect("the server answers before the connection ends")
    }

    /// The head of the next answer; nothing if the connection ends without one.
    ///
    /// # Panics
    /// If neither comes, or half a head.
    pub async fn head_or_end(&mut self) -> Option<(StatusCode, HeaderMap)> {
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.read_more().await {
                assert!(self.ahead.is_empty(), "the connection ended within a head: {:?}", self.ahead);
                return None;
            }
        };
        let head = self.ahead.split_to(end);
        let mut lines = head[..end - 4].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines.next().and_then(|line| StatusCode::from_bytes(line.get(9..12)?).ok());
        let headers = lines.map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').expect("a header has a colon");
            let name = HeaderName::from_bytes(&line[..colon]).expect("the header's name is valid");
            (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).expect("the header's value is valid"))
        });
        Some((status.expect("an answer begins with its status"), headers.collect()))
    }

    /// The next `length` bytes.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn bytes(&mut self, length: usize) -> Bytes {
        while self.ahead.len() < length {
            assert!(self.read_more().await, "the connection ended after {} of {length} bytes", self.ahead.len());
        }
        self.ahead.split_to(length).freeze()
    }

    /// What is there next, at most `limit` bytes; nothing if the connection has ended.
    pub(crate) async fn some(&mut self, limit: usize) -> Option<Bytes> {
        if self.ahead.is_empty() && !self.read_more().await {
            return None;
        }
        let length = self.ahead.len().min(limit);
        Some(self.ahead.split_to(length).freeze())
    }

    /// The next line, without its end; nothing if the connection ends before.
    pub(crate) async fn line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|window| window == b"\r\n") {
                let line = self.ahead.split_to(end + 2);
                return Some(line.freeze().slice(..end));
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    /// Everything up to the end of the connection, which the server has to bring about, in whatever way.
    ///
    /// # Panics
    /// If it does not.
    pub async fn rest(&mut self) -> Bytes {
        while self.read_more().await {}
        self.ahead.split().freeze()
    }

    /// Reads on; false if the connection has ended, in whatever way.
    async fn read_more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.ahead)).await;
        matches!(read.expect("the server answers or ends the connection"), Ok(1..))
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    // A piece that a test sends goes out when it is sent.
    stream.set_nodelay(true).expect("the socket takes the option");
    stream
}
