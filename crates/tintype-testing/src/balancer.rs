//! A balancer in front of nodes: each new connection goes to the next one, and what happens to one end of it happens to the
//! other.
//!
//! It knows nothing of HTTP, so that a node sees the very bytes that a test sends. It has a runtime of its own: a test that
//! blocks holds up nobody's connection.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::sleep,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("balancer").enable_all().build();
    runtime.expect("a thread can be had")
});

/// How long it waits for a descriptor to become free.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(10);

/// Where the nodes will be reached. Connections to it wait until they are there.
pub(crate) struct Front {
    listener: TcpListener,
    address: SocketAddr,
}

/// Balances until it is dropped; connections that are under way go on.
pub(crate) struct Balancer {
    address: SocketAddr,
    stays: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Listens at this address, or on a free port if its port is 0.
    pub(crate) fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let _runtime = RUNTIME.enter();
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// Begins to balance between nodes that listen at these addresses.
    pub(crate) fn balance(self, nodes: Vec<SocketAddr>) -> Balancer {
        let Self { listener, address } = self;
        let stays = Arc::new(AtomicBool::new(false));
        Balancer { address, accepting: RUNTIME.spawn(accept(listener, nodes, Arc::clone(&stays))), stays }
    }
}

impl Balancer {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each connection goes to the first node.
    pub(crate) fn stay(&self) {
        self.stays.store(true, Ordering::Release);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, nodes: Vec<SocketAddr>, stays: Arc<AtomicBool>) {
    for &next in nodes.iter().cycle() {
        let client = loop {
            match listener.accept().await {
                Ok((client, _)) => break client,
                Err(_) => sleep(OUT_OF_DESCRIPTORS).await,
            }
        };
        let node = if stays.load(Ordering::Acquire) { nodes[0] } else { next };
        tokio::spawn(carry(client, node));
    }
}

/// Carries bytes both ways until both ends have ended; an end that breaks off breaks off the other.
async fn carry(mut client: TcpStream, node: SocketAddr) {
    let Ok(mut node) = TcpStream::connect(node).await else {
        let _ = client.set_zero_linger();
        return;
    };
    // A piece that is sent goes out when it is sent.
    let _ = (client.set_nodelay(true), node.set_nodelay(true));
    if copy_bidirectional(&mut client, &mut node).await.is_err() {
        let _ = (client.set_zero_linger(), node.set_zero_linger());
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn node() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn pair() -> (TcpStream, TcpStream, Balancer) {
        let (listener, address) = node().await;
        let balancer = Front::listen(LOOPBACK).unwrap().balance(vec![address]);
        let client = TcpStream::connect(balancer.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (client, server, balancer)
    }

    #[tokio::test]
    async fn each_connection_goes_to_the_next_node() {
        let nodes = [node().await, node().await, node().await];
        let balancer = Front::listen(LOOPBACK).unwrap().balance(nodes.iter().map(|(_, address)| *address).collect());

        for index in [0, 1, 2, 0] {
            let mut client = TcpStream::connect(balancer.address()).await.unwrap();
            client.write_all(b"?").await.unwrap();
            let (mut server, _) = nodes[index].0.accept().await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'?');
            server.write_all(b"!").await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'!');
        }
    }

    #[tokio::test]
    async fn where_it_stays_each_connection_goes_to_the_first_node() {
        let nodes = [node().await, node().await];
        let balancer = Front::listen(LOOPBACK).unwrap().balance(nodes.iter().map(|(_, address)| *address).collect());
        balancer.stay();

        for _ in 0..3 {
            let mut client = TcpStream::connect(balancer.address()).await.unwrap();
            client.write_all(b"?").await.unwrap();
            assert_eq!(nodes[0].0.accept().await.unwrap().0.read_u8().await.unwrap(), b'?');
        }
    }

    #[tokio::test]
    async fn an_end_that_has_said_all_is_still_answered() {
        let (mut client, mut server, _balancer) = pair().await;

        client.write_all(b"all").await.unwrap();
        client.shutdown().await.unwrap();
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);

        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!((&said[..], &answer[..]), (&b"all"[..], &b"answer"[..]));
    }

    #[tokio::test]
    async fn an_end_that_breaks_off_breaks_off_the_other() {
        for of_client in [true, false] {
            let (client, server, _balancer) = pair().await;
            let (broken, mut other) = if of_client { (client, server) } else { (server, client) };

            broken.set_zero_linger().unwrap();
            drop(broken);

            let error = other.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn nobody_listens_any_more_when_it_is_dropped_but_connections_go_on() {
        let (mut client, mut server, balancer) = pair().await;
        let address = balancer.address();

        drop(balancer);

        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        client.write_all(b"?").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'?');
    }
}
