//! A stretch of network between a client and a real server, which a test can cut at a chosen byte.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

/// After how many bytes of one connection it is cut, heads included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Bytes from the client to the server.
    Upwards(usize),
    /// Bytes from the server to the client.
    Downwards(usize),
}

/// Listens on a port of its own and passes everything on to a Unix socket. Dropping it stops it.
pub struct Relay {
    address: SocketAddr,
    cuts: Arc<Mutex<Vec<Cut>>>,
    serving: JoinHandle<()>,
}

impl Relay {
    pub async fn start(server: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("the socket is bound");
        let cuts = Arc::<Mutex<Vec<Cut>>>::default();
        let serving = tokio::spawn({
            let cuts = Arc::clone(&cuts);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(pass(client, server.clone(), Arc::clone(&cuts)));
                }
            }
        });
        Self { address, cuts, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts the first connection that gets as far. Each cut is made once.
    pub fn cut(&self, cut: Cut) {
        self.cuts.lock().expect("nobody fails with it").push(cut);
    }

    /// Whether all the cuts were made.
    pub fn has_cut(&self) -> bool {
        self.cuts.lock().expect("nobody fails with it").is_empty()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Until one side ends or the connection is cut; then both ends are closed.
async fn pass(client: TcpStream, server: PathBuf, cuts: Arc<Mutex<Vec<Cut>>>) {
    let Ok(server) = UnixStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, &cuts, Cut::Upwards) => {}
        () = copy(from_server, to_client, &cuts, Cut::Downwards) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    cuts: &Mutex<Vec<Cut>>,
    cut: fn(usize) -> Cut,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let due = |planned: &Cut| (passed + 1..=passed + read).find(|&at| cut(at) == *planned);
        let cut_at = {
            let mut cuts = cuts.lock().expect("nobody fails with it");
            let planned = cuts.iter().position(|planned| due(planned).is_some());
            planned.and_then(|index| due(&cuts.remove(index)))
        };
        let until = cut_at.map_or(read, |at| at - passed);
        if to.write_all(&buffer[..until]).await.is_err() || cut_at.is_some() {
            return;
        }
        passed += read;
    }
}
