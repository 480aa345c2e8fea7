//! What a peer sends as an answer, byte by byte: HTTP as it should be, or what no HTTP server would say.

use std::{io, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::server::TlsStream;

/// Between two bytes of a peer that is slow. It is what that peer does, not what a test waits for.
const DRIP: Duration = Duration::from_millis(20);

/// What a peer does, one step after the other. After the last one it waits for the next request.
#[derive(Debug, Clone, Default)]
pub struct Script(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Send(Bytes),
    Drip(Bytes),
    Endless(Bytes),
    Stall,
    Close,
    BreakOff,
}

impl Script {
    /// Sends these bytes.
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::default().then(bytes)
    }

    /// An answer with a `Content-Length`; `head` is the rest of its header lines, each with its end.
    pub fn response(status: u16, head: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        Self::send(format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{head}\r\n", body.len())).then(body)
    }

    /// An answer in chunks, one for each of these; `head` is the rest of its header lines, each with its end.
    pub fn chunked(status: u16, head: &str, chunks: &[&[u8]]) -> Self {
        Self::unfinished(status, head, chunks).then("0\r\n\r\n")
    }

    /// The same without the last chunk, which would say that it is whole.
    pub fn unfinished(status: u16, head: &str, chunks: &[&[u8]]) -> Self {
        let begin = Self::send(format!("HTTP/1.1 {status} Status\r\nTransfer-Encoding: chunked\r\n{head}\r\n"));
        chunks.iter().fold(begin, |script, chunk| script.then(framed(chunk)))
    }

    /// JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::response(status, "Content-Type: application/json\r\n", body.to_string())
    }

    /// A Matrix error.
    pub fn error(status: u16, errcode: &str) -> Self {
        Self::json(status, &serde_json::json!({ "errcode": errcode, "error": "No" }))
    }

    /// Then sends these bytes.
    #[must_use]
    pub fn then(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(Bytes::copy_from_slice(bytes.as_ref())))
    }

    /// Then sends these bytes, each after a pause of 20 ms.
    #[must_use]
    pub fn drip(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Drip(Bytes::copy_from_slice(bytes.as_ref())))
    }

    /// Then sends these bytes again and again, for as long as anybody takes them.
    #[must_use]
    pub fn endless(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Endless(Bytes::copy_from_slice(bytes.as_ref())))
    }

    /// Then sends this chunk again and again, for as long as anybody takes it.
    #[must_use]
    pub fn endless_chunks(self, chunk: impl AsRef<[u8]>) -> Self {
        self.endless(framed(chunk.as_ref()))
    }

    /// Then sends nothing more, and keeps the connection open.
    #[must_use]
    pub fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Then ends the connection in order.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Then drops the connection, without the word of TLS that this is the end.
    #[must_use]
    pub fn break_off(self) -> Self {
        self.step(Step::BreakOff)
    }

    fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Does all of it. An error is the other end's: it has heard enough.
    pub(crate) async fn play(&self, mut stream: TlsStream<TcpStream>) -> io::Result<TlsStream<TcpStream>> {
        for step in &self.0 {
            match step {
                Step::Send(bytes) => stream.write_all(bytes).await?,
                Step::Drip(bytes) => {
                    for byte in bytes {
                        stream.write_all(&[*byte]).await?;
                        stream.flush().await?;
                        sleep(DRIP).await;
                    }
                }
                Step::Endless(bytes) => loop {
                    stream.write_all(bytes).await?;
                },
                Step::Stall => while stream.read(&mut [0; 1024]).await? > 0 {},
                Step::Close => stream.shutdown().await?,
                Step::BreakOff => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        stream.flush().await?;
        Ok(stream)
    }
}

fn framed(chunk: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
}
