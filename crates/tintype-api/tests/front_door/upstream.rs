//! A homeserver at whose end of the connection the test sits itself.

use std::{net::Ipv4Addr, time::Duration};

use bytes::{Bytes, BytesMut};
use tintype_testing::TestServer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Never reached in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long somebody takes nothing who does not want any more.
const PAUSE: Duration = Duration::from_secs(2);

/// Where the homeserver listens.
pub(crate) struct Upstream(TcpListener);

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port"))
    }

    /// A server that passes everything on to it; `config` is laid before its own.
    pub(crate) async fn front(&self, config: &str) -> TestServer {
        let url = format!("http://{}", self.0.local_addr().expect("the socket is bound"));
        let server = format!("[[server]]\nname = 'example.org'\nhomeserver = '{url}'\npass_through = true\n");
        TestServer::with(&format!("{config}\n{server}")).await
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Exchange {
        let accepted = timeout(PATIENCE, self.0.accept()).await.expect("somebody connects");
        Exchange { stream: accepted.expect("the listener lives").0, ahead: BytesMut::new() }
    }

    /// The next request, on a connection of its own.
    pub(crate) async fn request(&self) -> (Exchange, Head) {
        let mut exchange = self.accept().await;
        let head = exchange.head().await;
        (exchange, head)
    }

    /// Answers the next request, on a connection of its own.
    pub(crate) async fn answers(&self, answer: &str) -> Head {
        let (mut exchange, head) = self.request().await;
        exchange.send(answer).await;
        head
    }

    /// Whether nobody has connected since the last accepted connection.
    pub(crate) async fn is_left_alone(&self) -> bool {
        timeout(Duration::ZERO, self.0.accept()).await.is_err()
    }
}

/// A connection at the homeserver's end.
pub(crate) struct Exchange {
    stream: TcpStream,
    ahead: BytesMut,
}

/// The head of a request, as its bytes say it.
#[derive(Debug)]
pub(crate) struct Head(String);

impl Head {
    /// The first line, without the version.
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().and_then(|line| line.strip_suffix(" HTTP/1.1")).expect("a request is of HTTP/1.1")
    }

    /// The values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let headers = self.0.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

impl Exchange {
    /// The head of the next request.
    pub(crate) async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.ahead.split_to(end + 4);
                return Head(String::from_utf8(head[..end].to_vec()).expect("the head is text"));
            }
            assert!(self.read_more().await, "the connection ended in a head");
        }
    }

    /// The next bytes.
    pub(crate) async fn bytes(&mut self, length: usize) -> Bytes {
        while self.ahead.len() < length {
            assert!(self.read_more().await, "the connection ended after {} of {length} bytes", self.ahead.len());
        }
        self.ahead.split_to(length).freeze()
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref()));
        sent.await.expect("the server reads").expect("the connection lives");
    }

    /// Sends for as long as somebody takes it, `limit` bytes at most, and gives how many were taken.
    pub(crate) async fn send_what_is_taken(&mut self, limit: usize) -> usize {
        let piece = vec![0; 64 * 1024];
        let mut sent = 0;
        while sent < limit {
            match timeout(PAUSE, self.stream.write(&piece)).await {
                Ok(written) => sent += written.expect("the connection lives"),
                Err(_) => break,
            }
        }
        sent
    }

    /// Reads until the connection ends, which has to happen.
    pub(crate) async fn ended(self) {
        self.rest().await;
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(mut self) -> Bytes {
        while self.read_more().await {}
        self.ahead.freeze()
    }

    async fn read_more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.ahead)).await;
        matches!(read.expect("the server sends or ends the connection"), Ok(1..))
    }
}

/// An answer with this body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}
