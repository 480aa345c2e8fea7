//! A proxy in front of a homeserver that lets down whoever sends through it, in the way and at the moment that it is told.
//!
//! Requests that send an event (`PUT …/send/…`, `PUT …/state/…`) meet what [`Fate`] says; all others are passed on, or
//! all fail. One request for each connection, so that nothing depends on which one is used again.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time,
};

use crate::process::Killer;

/// What becomes of a request that sends an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    /// Whether the homeserver gets it.
    pub arrives: bool,
    /// What the sender hears.
    pub answer: Hears,
    /// How long it lies here before it goes on.
    pub before: Duration,
    /// How long the answer lies here.
    pub after: Duration,
    /// When the sender is killed.
    pub kill: Option<Moment>,
    /// Whether all that the sender asks the homeserver meanwhile fails.
    pub questions_fail: bool,
}

/// What the sender of a request hears.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hears {
    /// The homeserver's answer; nothing, if it did not get the request.
    Answer,
    /// So much of the answer, from 0 to 1, and then the end of the connection.
    Part(f64),
    /// The end of the connection.
    Nothing,
    /// 500.
    InternalError,
    /// 429: the homeserver does not do it.
    Refusal,
}

/// A moment in the life of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is here, and nobody else has seen it.
    Arrived,
    /// The homeserver has answered, and nobody has heard it.
    Answered,
    /// The sender's side has the answer.
    Passed,
}

/// The proxy, until the end of its runtime.
#[derive(Clone, Debug)]
pub struct Fickle {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: OnceLock<String>,
    state: Mutex<State>,
    under_way: watch::Sender<u32>,
}

#[derive(Debug)]
struct State {
    fate: Fate,
    victim: Option<Killer>,
    sent: u32,
    has_killed: bool,
}

impl Fate {
    /// Everything as it should be.
    pub const CALM: Self = Self {
        arrives: true,
        answer: Hears::Answer,
        before: Duration::ZERO,
        after: Duration::ZERO,
        kill: None,
        questions_fail: false,
    };
}

impl Fickle {
    /// Listens on a free port.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("some port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let state = Mutex::new(State { fate: Fate::CALM, victim: None, sent: 0, has_killed: false });
        let shared = Arc::new(Shared { upstream: OnceLock::new(), state, under_way: watch::Sender::new(0) });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move {
                    // A broken connection is what this is about.
                    let _ = shared.serve(stream).await;
                });
            }
        });
        Self { port, shared }
    }

    /// The base URL, in place of that of the homeserver at `address`.
    pub fn in_front_of(&self, address: String) -> String {
        self.shared.upstream.set(address).expect("it stands in front of one homeserver");
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Says what is to become of the next requests, and who is killed if they say so.
    pub fn decide(&self, fate: Fate, victim: Killer) {
        *self.shared.state() = State { fate, victim: Some(victim), sent: 0, has_killed: false };
    }

    /// How many requests that send an event have come since then.
    pub fn sent(&self) -> u32 {
        self.shared.state().sent
    }

    /// Whether it has killed the sender since then.
    pub fn has_killed(&self) -> bool {
        self.shared.state().has_killed
    }

    /// Waits until it has nothing in its hands.
    pub async fn is_idle(&self) {
        let mut under_way = self.shared.under_way.subscribe();
        under_way.wait_for(|count| *count == 0).await.expect("the count lasts as long as the proxy");
    }
}

impl Shared {
    async fn serve(&self, mut sender: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        let head = read_head(&mut sender, &mut request).await?;
        if !(head.starts_with("PUT ") && (head.contains("/send/") || head.contains("/state/"))) {
            return self.question(sender, request).await;
        }
        self.under_way.send_modify(|count| *count += 1);
        let outcome = self.event(sender, &head, request).await;
        self.under_way.send_modify(|count| *count -= 1);
        outcome
    }

    async fn question(&self, mut sender: TcpStream, request: Vec<u8>) -> io::Result<()> {
        if self.state().fate.questions_fail {
            return sender.write_all(&error("500 Internal Server Error", "M_UNKNOWN")).await;
        }
        let mut homeserver = TcpStream::connect(self.upstream()).await?;
        homeserver.write_all(&closing(&request)).await?;
        io::copy_bidirectional(&mut sender, &mut homeserver).await?;
        Ok(())
    }

    async fn event(&self, mut sender: TcpStream, head: &str, mut request: Vec<u8>) -> io::Result<()> {
        let fate = {
            let mut state = self.state();
            state.sent += 1;
            state.fate
        };
        read_body(&mut sender, head, &mut request).await?;
        self.reach(fate, Moment::Arrived);
        time::sleep(fate.before).await;
        let answer = if fate.arrives { self.ask(&request).await? } else { Vec::new() };
        self.reach(fate, Moment::Answered);
        time::sleep(fate.after).await;
        let given = match fate.answer {
            Hears::Answer => answer,
            Hears::Part(part) => cut(answer, part),
            Hears::Nothing => Vec::new(),
            Hears::InternalError => error("500 Internal Server Error", "M_UNKNOWN"),
            Hears::Refusal => error("429 Too Many Requests", "M_LIMIT_EXCEEDED"),
        };
        let outcome = sender.write_all(&given).await;
        self.reach(fate, Moment::Passed);
        outcome
    }

    async fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut homeserver = TcpStream::connect(self.upstream()).await?;
        homeserver.write_all(&closing(request)).await?;
        let mut answer = Vec::new();
        homeserver.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    fn reach(&self, fate: Fate, moment: Moment) {
        let mut state = self.state();
        if fate.kill == Some(moment)
            && let Some(victim) = state.victim
        {
            victim.kill();
            state.has_killed = true;
        }
    }

    fn upstream(&self) -> &str {
        self.upstream.get().expect("it stands in front of a homeserver")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads up to the end of the head, and perhaps more.
async fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(&received[..end + 4]).into_owned());
        }
        read_more(stream, received).await?;
    }
}

async fn read_body(stream: &mut TcpStream, head: &str, received: &mut Vec<u8>) -> io::Result<()> {
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let is_whole = |received: &[u8]| match length {
        Some(length) => received.len() >= head.len() + length,
        None => received.ends_with(b"0\r\n\r\n"),
    };
    while !is_whole(received) {
        read_more(stream, received).await?;
    }
    Ok(())
}

async fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The request, with the wish that the connection end with it.
fn closing(request: &[u8]) -> Vec<u8> {
    let line = request.windows(2).position(|window| window == b"\r\n").expect("a head has lines") + 2;
    [&request[..line], b"Connection: close\r\n", &request[line..]].concat()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a part of the length of an answer"
)]
fn cut(mut answer: Vec<u8>, part: f64) -> Vec<u8> {
    answer.truncate((answer.len() as f64 * part) as usize);
    answer
}

fn error(status: &str, errcode: &str) -> Vec<u8> {
    let body = format!(r#"{{"errcode":"{errcode}","error":"made up"}}"#);
    let length = body.len();
    let head = format!("Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
    format!("HTTP/1.1 {status}\r\n{head}\r\n{body}").into_bytes()
}
