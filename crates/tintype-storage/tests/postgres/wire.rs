//! The wire between the records and PostgreSQL: what goes over it is counted, and it can be cut at a chosen place.
//!
//! Messages of the client are read as the protocol defines them (PostgreSQL, "Message Formats"): only so it is certain
//! which statement was executed, how often, and that a connection was lost at a commit and not beside it.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use url::Url;

/// Where a connection is cut, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The statement that begins so does not arrive.
    Before(&'static str),
    /// It takes effect, and its answer does not arrive.
    After(&'static str),
}

/// A way to a database.
pub(crate) struct Wire {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    executed: Mutex<Vec<String>>,
    cut: Mutex<Option<Cut>>,
}

impl Wire {
    /// A way to the database of this URL.
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        // Encrypted messages could not be read.
        url.set_query(Some("sslmode=disable"));
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, shared) = (target.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        connection(client, server, shared).await;
                    }
                });
            }
        });
        Self { url: url.into(), shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Cuts the next connection that comes to this place.
    pub(crate) fn cut(&self, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some(cut);
    }

    /// What was executed since this was last asked.
    pub(crate) fn executed(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.executed.lock().unwrap())
    }
}

async fn connection(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (mute, muted) = watch::channel(false);
    // Whichever ends first ends both.
    tokio::select! {
        _ = statements(from_client, to_server, &shared, mute) => {}
        _ = answers(from_server, to_client, muted) => {}
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, muted: watch::Receiver<bool>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 || *muted.borrow() {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}

async fn statements(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    mute: watch::Sender<bool>,
) -> io::Result<()> {
    // The first message has no type.
    let length = from.read_u32().await?;
    to.write_u32(length).await?;
    copy(&mut from, &mut to, length).await?;
    let mut prepared = HashMap::new();
    let mut bound = String::new();
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let mut text = || texts.next().unwrap_or_default();
        let statement = match kind {
            b'P' => {
                prepared.insert(text(), text());
                None
            }
            b'B' => {
                text();
                bound = prepared.get(&text()).cloned().unwrap_or_default();
                None
            }
            b'E' => Some(bound.clone()),
            b'Q' => Some(text()),
            _ => None,
        };
        if let Some(statement) = statement {
            let statement = statement.trim().to_owned();
            let cut = *shared.cut.lock().unwrap();
            match cut {
                Some(Cut::Before(place)) if statement.starts_with(place) => {
                    *shared.cut.lock().unwrap() = None;
                    return Ok(());
                }
                Some(Cut::After(place)) if statement.starts_with(place) => {
                    *shared.cut.lock().unwrap() = None;
                    mute.send_replace(true);
                }
                _ => {}
            }
            shared.executed.lock().unwrap().push(statement);
        }
        to.write_u8(kind).await?;
        to.write_u32(length).await?;
        to.write_all(&body).await?;
    }
}

async fn copy(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, length: u32) -> io::Result<()> {
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body).await?;
    to.write_all(&body).await
}
