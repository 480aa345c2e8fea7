//! An HTTP/1.1 connection for measuring: blocking, keep-alive, and as cheap as a client can be.
//!
//! Bodies are thrown away in the kernel (`recv` with `MSG_TRUNC`), so that what is measured is the server and
//! not the client's copying; a client that reads into memory becomes the limit itself from about 3 GB/s.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::RecvFlags;

/// No answer for so long means that a server hangs, and the figure fails.
const PATIENCE: Duration = Duration::from_mins(2);
const HEAD_LIMIT: usize = 64 * 1024;
const DISCARD_AT_ONCE: usize = 1024 * 1024;

/// One connection to a server.
pub struct Connection {
    stream: TcpStream,
    /// What was read beyond the last head: the beginning of its body.
    ahead: Vec<u8>,
    /// Lengths for `recv`; with `MSG_TRUNC` nothing is ever written to it. Made when it is needed: there may be ten
    /// thousand connections that never throw anything away.
    untouched: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The length of the body in bytes as declared; none for one in chunks.
    pub content_length: Option<u64>,
    /// Whether the server closes the connection after this answer.
    pub closes: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, ahead: Vec::new(), untouched: Vec::new() })
    }

    /// Sends bytes of a request.
    ///
    /// # Errors
    /// When the server has closed the connection or stopped reading.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the head of the next answer.
    ///
    /// # Errors
    /// When the connection ends, or the head cannot be parsed or does not say where its body ends.
    pub fn head(&mut self) -> Result<Head> {
        parse(&self.read_through(b"\r\n\r\n")?)
    }

    /// Throws away the next bytes of the body, at most `limit`, without copying them; returns how many.
    ///
    /// # Errors
    /// When the connection ends before the body does.
    pub fn discard_some(&mut self, limit: u64) -> Result<u64> {
        let at_once = usize::try_from(limit).unwrap_or(usize::MAX).min(DISCARD_AT_ONCE);
        let discarded = if self.ahead.is_empty() {
            self.untouched.resize(DISCARD_AT_ONCE, 0);
            rustix::net::recv(&self.stream, &mut self.untouched[..at_once], RecvFlags::TRUNC)?.1
        } else {
            let length = self.ahead.len().min(at_once);
            self.ahead.drain(..length).count()
        };
        ensure!(discarded > 0, "the body ended {limit} bytes early");
        Ok(u64::try_from(discarded)?)
    }

    /// Waits until something of the body is there, without taking it.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn await_body(&mut self) -> Result<()> {
        if self.ahead.is_empty() {
            self.read_some()?;
        }
        Ok(())
    }

    /// Throws away a whole body and returns its length in bytes.
    ///
    /// # Errors
    /// When the connection ends before the body does.
    pub fn discard(&mut self, head: Head) -> Result<u64> {
        if let Some(length) = head.content_length {
            self.discard_exactly(length)?;
            return Ok(length);
        }
        let mut length = 0;
        loop {
            let size = self.chunk_size()?;
            self.discard_exactly(size)?;
            self.read_through(b"\r\n")?;
            if size == 0 {
                return Ok(length);
            }
            length += size;
        }
    }

    /// Reads a whole (small) body into memory.
    ///
    /// # Errors
    /// When the connection ends before the body does.
    pub fn body(&mut self, head: Head) -> Result<Vec<u8>> {
        if let Some(length) = head.content_length {
            return self.read_exactly(usize::try_from(length)?);
        }
        let mut body = Vec::new();
        loop {
            let size = self.chunk_size()?;
            body.extend(self.read_exactly(usize::try_from(size)?)?);
            self.read_through(b"\r\n")?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads the head of the next answer and refuses any but one with this status.
    ///
    /// # Errors
    /// When the status is another one; the message carries the beginning of the body.
    pub fn expect_status(&mut self, status: u16) -> Result<Head> {
        let head = self.head()?;
        if head.status != status {
            let body = self.body(head).unwrap_or_default();
            bail!("status {} instead of {status}: {}", head.status, String::from_utf8_lossy(&body));
        }
        Ok(head)
    }

    fn read_through(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                let after = self.ahead.split_off(at + end.len());
                return Ok(std::mem::replace(&mut self.ahead, after));
            }
            ensure!(self.ahead.len() < HEAD_LIMIT, "an answer's head is longer than {HEAD_LIMIT} bytes");
            self.read_some()?;
        }
    }

    fn read_some(&mut self) -> Result<()> {
        let mut buffer = [0; 2048];
        let length = self.stream.read(&mut buffer)?;
        ensure!(length > 0, "the server closed the connection instead of answering");
        self.ahead.extend_from_slice(&buffer[..length]);
        Ok(())
    }

    fn chunk_size(&mut self) -> Result<u64> {
        let line = self.read_through(b"\r\n")?;
        Ok(u64::from_str_radix(std::str::from_utf8(&line)?.trim_end(), 16)?)
    }

    fn discard_exactly(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            left -= self.discard_some(left)?;
        }
        Ok(())
    }

    fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let after = self.ahead.split_off(length.min(self.ahead.len()));
        let mut read = std::mem::replace(&mut self.ahead, after);
        let have = read.len();
        read.resize(length, 0);
        self.stream.read_exact(&mut read[have..])?;
        Ok(read)
    }
}

fn parse(head: &[u8]) -> Result<Head> {
    let head = std::str::from_utf8(head).context("an answer's head is not UTF-8")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3)?.parse().ok())
        .with_context(|| format!("not an HTTP/1.1 answer: {head:?}"))?;
    let (mut content_length, mut chunked, mut closes) = (None, false, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            content_length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    ensure!(content_length.is_some() != chunked, "an answer's body has no clear end: {head:?}");
    Ok(Head { status, content_length, closes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn connected(answer: &'static [u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = Connection::open(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(answer).unwrap();
        connection
    }

    #[test]
    fn the_next_head_is_found_after_a_discarded_body() {
        let mut connection = connected(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nConnection: close\r\n\r\n",
        );

        let first = connection.head().unwrap();
        connection.discard(first).unwrap();
        let second = connection.head().unwrap();

        assert_eq!(first, Head { status: 200, content_length: Some(5), closes: false });
        assert_eq!(second, Head { status: 404, content_length: Some(0), closes: true });
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let mut connection = connected(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");

        let head = connection.head().unwrap();

        assert!(connection.discard(head).is_err());
    }

    #[test]
    fn a_body_in_chunks_is_read_whole() {
        let mut connection =
            connected(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");

        let head = connection.head().unwrap();

        assert_eq!(connection.body(head).unwrap(), b"hello world");
    }

    #[test]
    fn a_body_in_chunks_is_thrown_away_whole_once_it_begins() {
        let mut connection = connected(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n\
              HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        );

        let head = connection.head().unwrap();
        connection.await_body().unwrap();

        assert_eq!(connection.discard(head).unwrap(), 21);
        assert_eq!(connection.head().unwrap().status, 404);
    }

    #[test]
    fn another_status_is_reported_with_its_body() {
        let mut connection = connected(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 4\r\n\r\nwait");

        let error = connection.expect_status(200).unwrap_err();

        assert_eq!(error.to_string(), "status 429 instead of 200: wait");
    }
}
