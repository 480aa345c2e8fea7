//! A connection on which a test sends what no HTTP client would: half a request, two at once, or nothing.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{Response, wait::PATIENCE};

/// A TCP connection to the server. Dropping it closes it.
pub struct Connection {
    stream: TcpStream,
    /// What was read beyond the last answer.
    ahead: BytesMut,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: BytesMut::new() }
    }

    /// Sends these bytes, all of them.
    ///
    /// # Panics
    /// If the server does not take them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        sent.expect("the server reads").expect("the connection lives");
    }

    /// The next answer, whose length is in its `Content-Length` (none is no body).
    ///
    /// # Panics
    /// If none comes.
    pub async fn response(&mut self) -> Response {
        let (status, headers) = self.head().await;
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
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.read().await > 0, "the connection ended within a head: {:?}", self.ahead);
        };
        let head = self.ahead.split_to(end);
        let mut lines = head[..end - 4].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines.next().and_then(|line| StatusCode::from_bytes(line.get(9..12)?).ok());
        let headers = lines.map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').expect("a header has a colon");
            let name = HeaderName::from_bytes(&line[..colon]).expect("the header's name is valid");
            (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).expect("the header's value is valid"))
        });
        (status.expect("an answer begins with its status"), headers.collect())
    }

    /// The next `length` bytes.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn bytes(&mut self, length: usize) -> Bytes {
        while self.ahead.len() < length {
            assert!(self.read().await > 0, "the connection ended after {} of {length} bytes", self.ahead.len());
        }
        self.ahead.split_to(length).freeze()
    }

    /// Everything up to the end of the connection, which the server has to bring about, in whatever way.
    ///
    /// # Panics
    /// If it does not.
    pub async fn rest(&mut self) -> Bytes {
        loop {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.ahead)).await;
            match read.expect("the server ends the connection") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return self.ahead.split().freeze(),
            }
        }
    }

    async fn read(&mut self) -> usize {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.ahead)).await;
        read.expect("the server answers").expect("the connection lives")
    }
}
