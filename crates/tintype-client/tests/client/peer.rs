//! A peer that answers as the test says, for what a real server cannot be made to do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tintype_client::{Client, ClientBuilder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::server::builder;

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method, target and version.
    pub line: String,
    head: String,
    /// As much of it as was read.
    pub body: Vec<u8>,
}

impl Asked {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        line.unwrap_or_default()
    }
}

/// What the peer does with one connection: it reads a request, answers it and closes the connection.
#[derive(Debug, Clone)]
pub struct Act {
    /// How much of the body is read before the answer; all of it if nothing is said.
    read: Option<usize>,
    /// What is sent, as it is; nothing to just close the connection.
    answer: Vec<u8>,
    /// Whether the connection is then left open, silent.
    hang: bool,
}

impl Act {
    /// Answers with these bytes, head and all.
    pub fn raw(answer: impl Into<Vec<u8>>) -> Self {
        Self { read: None, answer: answer.into(), hang: false }
    }

    /// Answers with a status, headers (lines that end in `\r\n`) and a body with its length.
    pub fn answer(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::raw(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
    }

    /// Refuses with a Matrix error.
    pub fn refuse(status: &str, headers: &str, errcode: &str) -> Self {
        let body = format!(r#"{{"errcode":"{errcode}","error":"So says the peer"}}"#);
        Self::answer(status, &format!("Content-Type: application/json\r\n{headers}"), &body)
    }

    /// Answers `GET /_matrix/client/versions` with this flag on; with none if it is empty.
    pub fn versions(flag: &str) -> Self {
        let features = if flag.is_empty() { String::new() } else { format!(r#""{flag}":true"#) };
        Self::answer("200 OK", "", &format!(r#"{{"versions":["v1.12"],"unstable_features":{{{features}}}}}"#))
    }

    /// Answers nothing to `HEAD` but these headers.
    pub fn head(headers: &str) -> Self {
        Self::raw(format!("HTTP/1.1 204 No Content\r\n{headers}Connection: close\r\n\r\n"))
    }

    /// Closes the connection after so much of the body.
    pub fn break_off(after: usize) -> Self {
        Self { read: Some(after), answer: Vec::new(), hang: false }
    }

    /// Leaves the connection open and silent after the answer.
    #[must_use]
    pub fn and_hang(self) -> Self {
        Self { hang: true, ..self }
    }
}

/// Listens on a port of its own and plays its acts, one a connection. Dropping it stops it.
pub struct Peer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    playing: JoinHandle<()>,
}

impl Peer {
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("the socket is bound");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let acts = acts.into_iter().collect::<Vec<_>>();
        let playing = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                let mut hanging = Vec::new();
                // Whoever asks once more is not answered, and the test sees what it asked.
                for act in acts.into_iter().chain(std::iter::repeat(Act::break_off(0))) {
                    let (stream, request) = next(&listener).await;
                    hanging.extend(play(stream, request, &act, &asked).await);
                }
            }
        });
        Self { address, asked, playing }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of it that tries again soon.
    pub fn client(&self) -> Client {
        self.builder().build().expect("it is a usable client")
    }

    pub fn builder(&self) -> ClientBuilder {
        builder(&self.url(), "token")
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody fails with it").clone()
    }

    /// The request lines so far, without the version of HTTP.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.line.trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }

    /// The methods it was asked with so far.
    pub fn methods(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.line.split(' ').next().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

/// The next connection on which there is a request, and what was read of it: the head and perhaps more.
async fn next(listener: &TcpListener) -> (TcpStream, Vec<u8>) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("it listens");
        let mut received = Vec::new();
        while matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            if head_end(&received).is_some() {
                return (stream, received);
            }
        }
    }
}

fn head_end(received: &[u8]) -> Option<usize> {
    Some(received.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

async fn play(mut stream: TcpStream, mut received: Vec<u8>, act: &Act, asked: &Mutex<Vec<Asked>>) -> Option<TcpStream> {
    let mut body = received.split_off(head_end(&received)?);
    let head = String::from_utf8(received).expect("the client sends text");
    let (line, head) = head.split_once("\r\n").expect("there is a request line");
    let mut request = Asked { line: line.to_owned(), head: head.to_owned(), body: Vec::new() };
    let length = request.header("content-length").parse().unwrap_or(0);
    let wanted = act.read.unwrap_or(length).min(length);
    while body.len() < wanted && matches!(stream.read_buf(&mut body).await, Ok(1..)) {}
    request.body = body;
    asked.lock().expect("nobody fails with it").push(request);
    // The client may have gone.
    let _ = stream.write_all(&act.answer).await;
    act.hang.then_some(stream)
}
