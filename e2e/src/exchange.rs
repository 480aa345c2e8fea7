//! The two ends of a proxied request, held in a test's hands: each piece is sent and awaited one at a time.
//!
//! HTTP is written and read as bytes here, since the point is what a proxy does to them.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time,
};

/// What has not arrived by then never will: the test fails instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that does what the test says, one connection at a time.
#[derive(Debug)]
pub struct Upstream(TcpListener);

impl Upstream {
    /// Listens on a free port.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        Self(listener.expect("some port is free"))
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.0.local_addr().expect("a listener has an address").to_string()
    }

    /// The next request, as soon as its head is there.
    pub async fn next_request(&self) -> Request {
        let (mut stream, _) = in_time(self.0.accept()).await.expect("the proxy connects");
        let head = read_head(&mut stream).await;
        Request { stream, head }
    }
}

/// A request at the upstream, still unanswered.
#[derive(Debug)]
pub struct Request {
    stream: TcpStream,
    head: String,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.split(' ').next().expect("a request line has a method")
    }

    /// The request target, as it arrived.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("a request line has a target")
    }

    /// The value of a header, as it arrived.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        let found = headers.find(|(present, _)| present.eq_ignore_ascii_case(name))?;
        Some(found.1)
    }

    /// The next `length` bytes of a body that is not chunked.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        in_time(self.stream.read_exact(&mut body)).await.expect("the body arrives");
        body
    }

    /// Reads of the body until `text` has arrived; chunks are not decoded.
    pub async fn read_until(&mut self, text: &str) {
        read_until(&mut self.stream, text).await;
    }

    /// Reads what is left of the body up to the end of the connection; chunks are not decoded.
    pub async fn read_to_end(mut self) -> String {
        read_to_end(&mut self.stream).await
    }

    /// Answers with `status` and header lines (each ended by CRLF) alone.
    pub async fn answer_without_body(mut self, status: &str, headers: &str) {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        self.stream.write_all(head.as_bytes()).await.expect("the proxy reads");
    }

    /// Begins an answer of unknown length, as any server would: chunked, or, for HTTP/1.0, up to the connection's end.
    pub async fn answer(self) -> Answer {
        if self.head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0")) {
            self.answer_framed("", Framing::Plain).await
        } else {
            self.answer_framed("Transfer-Encoding: chunked\r\n", Framing::Chunked).await
        }
    }

    /// Begins an answer whose length, in bytes, is known before its body.
    pub async fn answer_of_length(self, length: usize) -> Answer {
        self.answer_framed(&format!("Content-Length: {length}\r\n"), Framing::Plain).await
    }

    async fn answer_framed(mut self, header: &str, framing: Framing) -> Answer {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{header}\r\n");
        self.stream.write_all(head.as_bytes()).await.expect("the proxy reads");
        Answer { stream: self.stream, framing }
    }
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    Plain,
}

/// An answer on its way. Dropping it is the death of the server in the middle of the body.
#[derive(Debug)]
pub struct Answer {
    stream: TcpStream,
    framing: Framing,
}

impl Answer {
    /// Sends a piece of the body.
    pub async fn send(&mut self, piece: &str) {
        let framed = match self.framing {
            Framing::Chunked => format!("{:x}\r\n{piece}\r\n", piece.len()),
            Framing::Plain => piece.to_owned(),
        };
        self.stream.write_all(framed.as_bytes()).await.expect("the proxy reads");
    }

    /// Ends the body properly.
    pub async fn finish(mut self) {
        if matches!(self.framing, Framing::Chunked) {
            self.stream.write_all(b"0\r\n\r\n").await.expect("the proxy reads");
        }
        self.stream.shutdown().await.expect("the connection is open");
    }
}

/// A client's connection to a proxy.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects to 127.0.0.1.
    pub async fn open(port: u16) -> Self {
        Self(TcpStream::connect(("127.0.0.1", port)).await.expect("the proxy listens"))
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the proxy reads");
    }

    /// Sends a GET for `target` as it is, with more header lines (each ended by CRLF).
    pub async fn get(&mut self, target: &str, headers: &str) {
        self.ask("GET", target, &format!("Connection: close\r\n{headers}")).await;
    }

    /// Announces a POST of `length` bytes; [`Connection::send`] sends them.
    pub async fn post(&mut self, target: &str, length: u64) {
        self.ask("POST", target, &format!("Content-Length: {length}\r\n")).await;
    }

    /// Sends the head of a request for `target` as it is, with more header lines (each ended by CRLF).
    pub async fn ask(&mut self, method: &str, target: &str, headers: &str) {
        let host = self.0.peer_addr().expect("a connection has a peer");
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        self.send(head.as_bytes()).await;
    }

    /// Whether no byte of an answer is there.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        // Asks the kernel, not the runtime's idea of readiness.
        let arrived =
            rustix::net::recv(&self.0, &mut byte, rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT);
        arrived.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Reads until `text` has arrived.
    pub async fn read_until(&mut self, text: &str) -> String {
        read_until(&mut self.0, text).await
    }

    /// Reads up to the end of the connection. An answer that broke off may end in a reset, which ends it as well.
    pub async fn read_to_end(&mut self) -> String {
        read_to_end(&mut self.0).await
    }
}

/// Whether a chunked answer ended as it should: with a chunk of length 0.
pub fn is_complete(answer: &str) -> bool {
    answer.ends_with("0\r\n\r\n")
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time(stream.read_u8()).await.expect("a request has a head"));
    }
    String::from_utf8(head).expect("these requests are ASCII or UTF-8")
}

async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let byte = in_time(stream.read_u8()).await;
        read.push(byte.unwrap_or_else(|error| panic!("{error} before {text:?}: {}", String::from_utf8_lossy(&read))));
    }
    String::from_utf8_lossy(&read).into_owned()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let _ = in_time(stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

async fn in_time<T>(event: impl Future<Output = T>) -> T {
    let event = time::timeout(PATIENCE, event).await;
    event.unwrap_or_else(|_| panic!("nothing came in {PATIENCE:?}"))
}
