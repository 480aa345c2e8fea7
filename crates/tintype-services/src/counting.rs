//! A proxy between a store and its server that notes each request, and fails on demand.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

/// A running proxy between a store and its server, which notes each request; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _connections: JoinSet<()>,
}

#[derive(Default)]
struct State {
    requests: Vec<String>,
    away: bool,
    /// Answers to `GET` that are cut after so many bytes.
    cut: Vec<u64>,
}

impl Proxy {
    /// In front of the server at this URL.
    ///
    /// # Errors
    /// Those of listening.
    pub async fn before(endpoint: &str) -> io::Result<Self> {
        let server = endpoint.strip_prefix("http://").unwrap_or(endpoint).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), Arc::clone(&shared));
                connections.spawn(async move { drop(pass(client, &server, &state).await) });
            }
        });
        Ok(Self { address, state, _connections: accepting })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since it was last asked: method, and `?` with the first part of the query, if there is one.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).requests)
    }

    /// From here on nobody answers.
    pub fn go_away(&self) {
        locked(&self.state).away = true;
    }

    /// From here on it answers again.
    pub fn come_back(&self) {
        locked(&self.state).away = false;
    }

    /// Cuts the next answer with an object after so many bytes.
    pub fn cut_after(&self, bytes: u64) {
        locked(&self.state).cut.push(bytes);
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every change under this lock is whole before anything in it could panic.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(client: TcpStream, server: &str, state: &Mutex<State>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    // A connection for each request: so it is known which answer is whose.
    while let Some(request) = head(&mut from_client).await? {
        let cut = {
            let mut state = locked(state);
            if state.away {
                return Ok(());
            }
            let note = note(&request);
            let cut = if note == "GET" { state.cut.pop() } else { None };
            state.requests.push(note);
            cut
        };
        let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
        to_server.write_all(request.as_bytes()).await?;
        forward(&mut from_client, &mut to_server, length(&request)).await?;
        let answer = head(&mut from_server).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        to_client.write_all(answer.as_bytes()).await?;
        let body = if request.starts_with("HEAD") { 0 } else { length(&answer) };
        forward(&mut from_server, &mut to_client, cut.unwrap_or(body)).await?;
        if cut.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

async fn forward(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, length: u64) -> io::Result<()> {
    tokio::io::copy(&mut from.take(length), to).await.map(drop)
}

/// A head of a message, with the empty line at its end.
async fn head(from: &mut OwnedReadHalf) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match from.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && bytes.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn length(head: &str) -> u64 {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

fn note(head: &str) -> String {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match target.split_once('?') {
        Some((_, query)) => {
            let name = query.split(['=', '&']).find(|name| ["uploads", "uploadId", "partNumber"].contains(name));
            format!("{method}?{}", name.unwrap_or(""))
        }
        None => method.to_owned(),
    }
}
