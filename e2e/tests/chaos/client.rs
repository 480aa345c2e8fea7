//! A client that makes one request on one connection, can send slowly or break off, and says exactly what came of it.

use std::{io, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedWriteHalf},
    time,
};

use crate::plan::Pace;

/// When a client gives up.
pub const PATIENCE: Duration = Duration::from_secs(9);

/// A request. Its head ends before the `Content-Length`.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub token: &'a str,
    /// More lines, each ended by CRLF.
    pub headers: &'a str,
    pub body: Option<Sending<'a>>,
}

/// A body on its way.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    pub bytes: &'a [u8],
    pub pace: Pace,
    /// The connection breaks after so many bytes.
    pub breaks_after: Option<usize>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered(Answer),
    /// Nobody was there who could have heard of it.
    NotSent,
    /// There is no answer, or not a whole head of one, and nobody knows what has become of it.
    Lost,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
    /// Whether its body came to its end.
    pub is_whole: bool,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|(present, _)| present.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Its body, if it is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Makes the request.
pub async fn ask(port: u16, request: Request<'_>, patience: Duration) -> Outcome {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await else { return Outcome::NotSent };
    let (mut from, mut to) = stream.into_split();
    let mut received = Vec::new();
    let exchange = async {
        let receiving = from.read_to_end(&mut received);
        let sending = send(&mut to, request);
        tokio::pin!(receiving, sending);
        tokio::select! {
            _ = &mut receiving => {}
            sent = &mut sending => match sent {
                // Who breaks off hears nothing more.
                Ok(Sent::Broken) => {}
                // Also where it could not be sent: whoever refuses a body may have said so.
                Ok(Sent::Whole) | Err(_) => { let _ = receiving.await; }
            },
        }
    };
    let _ = time::timeout(patience, exchange).await;
    parse(&received).map_or(Outcome::Lost, Outcome::Answered)
}

enum Sent {
    Whole,
    Broken,
}

async fn send(to: &mut OwnedWriteHalf, request: Request<'_>) -> io::Result<Sent> {
    let Request { method, target, token, headers, body } = request;
    let length = body.map_or(0, |body| body.bytes.len());
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    );
    to.write_all(head.as_bytes()).await?;
    let Some(Sending { bytes, pace, breaks_after }) = body else { return Ok(Sent::Whole) };
    let sent = &bytes[..breaks_after.unwrap_or(bytes.len())];
    for (number, piece) in sent.chunks(sent.len().div_ceil(pace.pieces).max(1)).enumerate() {
        if number > 0 {
            time::sleep(pace.pause).await;
        }
        to.write_all(piece).await?;
    }
    Ok(if breaks_after.is_some() { Sent::Broken } else { Sent::Whole })
}

fn parse(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let rest = &received[end + 4..];
    let mut answer = Answer { status, head, body: Vec::new(), is_whole: true };
    if answer.header("Transfer-Encoding").is_some() {
        (answer.body, answer.is_whole) = unchunked(rest);
    } else {
        let length = answer.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        answer.is_whole = status == 204 || rest.len() >= length;
        rest.clone_into(&mut answer.body);
    }
    Some(answer)
}

/// What is in the chunks, and whether the last one is there.
fn unchunked(mut chunks: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = chunks.windows(2).position(|bytes| bytes == b"\r\n") else { return (body, false) };
        let length = std::str::from_utf8(&chunks[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(length) = length else { return (body, false) };
        let rest = &chunks[end + 2..];
        if length == 0 {
            return (body, rest.starts_with(b"\r\n"));
        }
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        if rest.len() < length + 2 {
            return (body, false);
        }
        chunks = &rest[length + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_only_with_its_end() {
        let whole = |text: &str| parse(text.as_bytes()).map(|answer| (answer.is_whole, answer.body.len()));

        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Some((true, 3)));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), Some((false, 2)));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"), Some((true, 2)));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), Some((false, 2)));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab"), Some((false, 2)));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Le"), None);
    }
}
