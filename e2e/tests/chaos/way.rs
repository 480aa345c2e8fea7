//! A way through which connections go to a server, or in turn to one of several: it can be cut, and it can swallow everything.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A port that leads to others.
#[derive(Debug)]
pub struct Way {
    port: u16,
    condition: watch::Sender<Condition>,
}

#[derive(Clone, Copy, Debug)]
struct Condition {
    mode: Mode,
    // How often everything was cut.
    cuts: u64,
}

/// What becomes of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Open,
    /// Nobody listens.
    Closed,
    /// Connections are taken, and nothing goes through until this is over.
    Silent,
}

impl Way {
    /// A way to these ports of the loopback address.
    pub async fn to(ports: Vec<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("some port is free");
        Self::through(listener, ports)
    }

    /// The same, at a port that is known already.
    pub async fn at(port: u16, ports: Vec<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        Self::through(listener, ports)
    }

    fn through(listener: TcpListener, ports: Vec<u16>) -> Self {
        let port = listener.local_addr().expect("a listener has an address").port();
        let (condition, observed) = watch::channel(Condition { mode: Mode::Open, cuts: 0 });
        tokio::spawn(serve(listener, Arc::from(ports), observed));
        Self { port, condition }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections; those that come find it in this mode.
    pub fn cut(&self, mode: Mode) {
        self.condition.send_modify(|condition| *condition = Condition { mode, cuts: condition.cuts + 1 });
    }

    /// Leaves the connections, for which this mode holds from now on.
    pub fn turn(&self, mode: Mode) {
        self.condition.send_modify(|condition| condition.mode = mode);
    }
}

async fn serve(listener: TcpListener, ports: Arc<[u16]>, mut observed: watch::Receiver<Condition>) {
    let address = listener.local_addr().expect("a listener has an address");
    let (next, mut listening) = (Arc::new(AtomicUsize::new(0)), Some(listener));
    // Until whoever made the way has dropped it.
    while observed.has_changed().is_ok() {
        if observed.borrow_and_update().mode == Mode::Closed {
            listening = None;
            let _ = observed.changed().await;
            continue;
        }
        let listener = match listening.take() {
            Some(listener) => listener,
            None => TcpListener::bind(address).await.expect("the port is free again"),
        };
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let (ports, next, observed) = (Arc::clone(&ports), Arc::clone(&next), observed.clone());
                    tokio::spawn(connection(client, ports, next, observed));
                }
            }
            _ = observed.changed() => {}
        }
        listening = Some(listener);
    }
}

async fn connection(
    client: TcpStream,
    ports: Arc<[u16]>,
    next: Arc<AtomicUsize>,
    mut observed: watch::Receiver<Condition>,
) {
    let cuts = observed.borrow_and_update().cuts;
    let between = async {
        let Some(server) = connect(&ports, &next).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (up, down) = (observed.clone(), observed.clone());
        tokio::join!(pass(from_client, to_server, up), pass(from_server, to_client, down));
    };
    let mut watching = observed.clone();
    tokio::select! {
        () = between => {}
        _ = watching.wait_for(|condition| condition.cuts != cuts) => {}
    }
}

/// The first that answers, in turn.
async fn connect(ports: &[u16], next: &AtomicUsize) -> Option<TcpStream> {
    let first = next.fetch_add(1, Ordering::Relaxed);
    for offset in 0..ports.len() {
        if let Ok(server) = TcpStream::connect(("127.0.0.1", ports[(first + offset) % ports.len()])).await {
            return Some(server);
        }
    }
    None
}

/// One direction, up to its end. A direction that breaks ends both, since then what it was split from is dropped with it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut observed: watch::Receiver<Condition>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if observed.wait_for(|condition| condition.mode != Mode::Silent).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
