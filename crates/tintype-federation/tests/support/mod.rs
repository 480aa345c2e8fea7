//! Other servers on loopback, to be found and spoken to: a DNS server, a certificate authority, and web servers with TLS.
//!
//! Each [`World`] has a network of its own in 127.0.0.0/8, so that many hosts can use the same two ports, as servers
//! on the internet do, and tests can run side by side.

mod authority;
mod dns;
mod peer;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

pub use authority::Authority;
pub use dns::Dns;
pub use peer::{Answer, Peer, Received, answer, json, redirect};
use tintype_domain::{ManualClock, Timestamp};
use tintype_federation::{AddressFilter, Outbound, OutboundParts, Ports};
use tokio::runtime::Handle;

/// When every test begins: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp(1_767_225_600_000);

/// More than any answer takes that is not held back.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A small internet.
pub struct World {
    network: [u8; 2],
    /// The ports that stand for 443 and 8448.
    pub ports: Ports,
    /// Who signs certificates.
    pub authority: Authority,
    /// Who knows names.
    pub dns: Dns,
    /// What time it is.
    pub clock: Arc<ManualClock>,
}

impl World {
    /// A world without names and servers.
    pub async fn new() -> Self {
        static NETWORKS: AtomicU16 = AtomicU16::new(0);
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        // Processes that run at the same time have other networks, or at worst other ports.
        let network = [16 + (process::id() % 200) as u8, number.to_le_bytes()[0]];
        let [https, federation] = free_ports(address(network, 1));
        Self {
            network,
            ports: Ports { https, federation },
            authority: Authority::new(),
            dns: Dns::start(address(network, 1)).await,
            clock: Arc::new(ManualClock::new(START)),
        }
    }

    /// An address in this world; `host` is at least 2.
    pub fn address(&self, host: u8) -> IpAddr {
        address(self.network, host)
    }

    /// The place of a web server.
    pub fn https(&self, host: u8) -> SocketAddr {
        (self.address(host), self.ports.https).into()
    }

    /// The place of a Matrix server.
    pub fn federation(&self, host: u8) -> SocketAddr {
        (self.address(host), self.ports.federation).into()
    }

    /// What connections are made with: all of this world may be connected to.
    pub fn parts(&self) -> OutboundParts {
        let [a, b] = self.network;
        OutboundParts {
            filter: AddressFilter::new(vec![format!("127.{a}.{b}.0/24").parse().unwrap()]),
            extra_roots: vec![self.authority.certificate()],
            nameservers: vec![self.dns.address()],
            ports: self.ports,
            connect_timeout: Duration::from_secs(10),
            clock: self.clock.clone(),
            runtime: Handle::current(),
        }
    }

    /// Makes connections in this world.
    pub fn outbound(&self) -> Outbound {
        Outbound::new(self.parts()).unwrap()
    }
}

fn address([a, b]: [u8; 2], host: u8) -> IpAddr {
    Ipv4Addr::new(127, a, b, host).into()
}

/// Two ports that nobody uses on this address, and so in its whole network.
fn free_ports(address: IpAddr) -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((address, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
