//! Bodies that a test sends and reads piece by piece.
//!
//! So it can look at the server in the middle of an upload, break it off, or leave it there; and it sees whether a
//! download came to its end or was aborted, which a client that collects the body would make an error of its own.
//! Nothing is read but what the test asks for: a reader that stops is one that really stops.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};

use crate::{Connection, Response};

/// How the end of a body is known.
pub(crate) enum Framing {
    /// After so many bytes.
    Length(usize),
    /// By the last chunk.
    Chunked,
}

/// An upload under way, whose body the test sends. Dropping it breaks it off.
pub struct Sending {
    connection: Connection,
    framing: Framing,
    /// The answer that came instead of the invitation to send the body.
    refusal: Option<(StatusCode, HeaderMap)>,
}

impl Sending {
    /// Sends the head, and waits until the server asks for the body (or refuses): then it has taken the upload on.
    pub(crate) async fn begin(mut connection: Connection, mut head: Vec<u8>, framing: Framing) -> Self {
        head.truncate(head.len() - 2);
        head.extend_from_slice(b"expect: 100-continue\r\n\r\n");
        connection.send(head).await;
        let answer = connection.head().await;
        let refusal = (answer.0 != StatusCode::CONTINUE).then_some(answer);
        Self { connection, framing, refusal }
    }

    /// Sends a piece of the body.
    ///
    /// # Panics
    /// If the upload was refused, or the server takes no more.
    pub async fn send(&mut self, piece: impl AsRef<[u8]>) {
        let piece = piece.as_ref();
        if piece.is_empty() {
            return;
        }
        assert!(self.refusal.is_none(), "the upload was refused: {:?}", self.refusal);
        match self.framing {
            Framing::Chunked => {
                let size = format!("{:x}\r\n", piece.len());
                self.connection.send([size.as_bytes(), piece, b"\r\n"].concat()).await;
            }
            Framing::Length(_) => self.connection.send(piece).await,
        }
    }

    /// Ends the body, and gives the answer.
    pub async fn finish(mut self) -> Response {
        if matches!(self.framing, Framing::Chunked) {
            self.connection.send("0\r\n\r\n").await;
        }
        self.response().await
    }

    /// The answer, without anything more being sent.
    pub async fn response(self) -> Response {
        self.answer_or_end().await.expect("the server answers before the connection ends")
    }

    /// The answer, without anything more being sent; nothing if the server ends the connection without one.
    pub async fn answer_or_end(mut self) -> Option<Response> {
        let head = match self.refusal.take() {
            Some(refusal) => refusal,
            None => self.connection.head_or_end().await?,
        };
        Some(self.connection.response_after(head).await)
    }

    /// Closes the connection in the middle of the body.
    pub fn break_off(self) {
        drop(self);
    }
}

/// A download under way, whose body the test reads. Dropping it breaks it off.
pub struct Receiving {
    head: Response,
    connection: Connection,
    framing: Framing,
    /// What is left of the chunk that is being read.
    chunk: usize,
    /// What was read and not asked for yet.
    ahead: BytesMut,
}

/// What comes next in a body.
enum Next {
    Bytes(Bytes),
    End,
    Aborted,
}

impl Receiving {
    /// Reads the head of the answer.
    pub(crate) async fn begin(mut connection: Connection, method: &Method) -> Option<Self> {
        let (status, headers) = connection.head_or_end().await?;
        let has_body = method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let head = Response { status, headers, body: Bytes::new() };
        let framing = match head.header("transfer-encoding") {
            _ if !has_body => Framing::Length(0),
            "chunked" => Framing::Chunked,
            _ => Framing::Length(head.content_length()),
        };
        Some(Self { head, connection, framing, chunk: 0, ahead: BytesMut::new() })
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// A header's value as text; empty if there is no such header.
    pub fn header(&self, name: &str) -> &str {
        self.head.header(name)
    }

    /// The next `length` bytes of the body.
    ///
    /// # Panics
    /// If it ends or is aborted before.
    pub async fn bytes(&mut self, length: usize) -> Bytes {
        while self.ahead.len() < length {
            match self.next().await {
                Next::Bytes(bytes) => self.ahead.extend_from_slice(&bytes),
                Next::End => panic!("the download ended after {} of {length} bytes", self.ahead.len()),
                Next::Aborted => panic!("the download was aborted after {} of {length} bytes", self.ahead.len()),
            }
        }
        self.ahead.split_to(length).freeze()
    }

    /// The rest of the body, up to its end.
    ///
    /// # Panics
    /// If it is aborted before.
    pub async fn whole(mut self) -> Bytes {
        assert!(!self.read_on().await, "the download was aborted {} bytes later", self.ahead.len());
        self.ahead.freeze()
    }

    /// The rest of the body, up to where it is aborted.
    ///
    /// # Panics
    /// If it comes to its end.
    pub async fn aborted(mut self) -> Bytes {
        assert!(self.read_on().await, "the download came to its end {} bytes later", self.ahead.len());
        self.ahead.freeze()
    }

    /// The rest of the body, or else what came of it before it was aborted.
    ///
    /// # Errors
    /// The bytes that came, if it is aborted.
    pub async fn outcome(mut self) -> Result<Bytes, Bytes> {
        if self.read_on().await { Err(self.ahead.freeze()) } else { Ok(self.ahead.freeze()) }
    }

    /// Reads to the end; whether it was an abort.
    async fn read_on(&mut self) -> bool {
        loop {
            match self.next().await {
                Next::Bytes(bytes) => self.ahead.extend_from_slice(&bytes),
                Next::End => return false,
                Next::Aborted => return true,
            }
        }
    }

    async fn next(&mut self) -> Next {
        let next = match self.framing {
            Framing::Length(0) => return Next::End,
            Framing::Length(left) => self.connection.some(left).await,
            Framing::Chunked => {
                if self.chunk == 0 {
                    match self.next_chunk().await {
                        Some(0) => return Next::End,
                        Some(size) => self.chunk = size,
                        None => return Next::Aborted,
                    }
                }
                self.connection.some(self.chunk).await
            }
        };
        let Some(bytes) = next else { return Next::Aborted };
        match &mut self.framing {
            Framing::Length(left) => *left -= bytes.len(),
            Framing::Chunked => {
                self.chunk -= bytes.len();
                if self.chunk == 0 && self.connection.line().await.is_none() {
                    return Next::Aborted;
                }
            }
        }
        Next::Bytes(bytes)
    }

    /// The size of the next chunk; the last one, which is empty, is read to its end.
    async fn next_chunk(&mut self) -> Option<usize> {
        let line = self.connection.line().await?;
        let size = std::str::from_utf8(&line).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk begins with its size");
        if size == 0 {
            self.connection.line().await?;
            self.framing = Framing::Length(0);
        }
        Some(size)
    }
}
