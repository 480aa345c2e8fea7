//! The nodes of a server under test, and the one way to all of them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::join_all;
use tintype::{
    Address, Server,
    config::{Config, ListenAddress},
};
use tintype_domain::{Clock, ManualClock};
use tokio::time::timeout;

use crate::{
    balancer::{Balancer, Front},
    port,
    stores::Installation,
    wait::PATIENCE,
};

const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What is started, again and again.
pub(super) struct Plan {
    /// The configuration of each node.
    pub(super) configs: Vec<Config>,
    /// Where clients reach what the nodes listen on, in the order of `http.listen` and `http.tls_listen`. Nothing where
    /// there is but one node: that listens there itself.
    fronts: Vec<SocketAddr>,
    /// Whether every connection goes to the first node.
    is_at_one_node: AtomicBool,
}

/// Nodes that run.
pub(super) struct Nodes {
    /// First: who connects after them meets nobody.
    balancers: Vec<Balancer>,
    running: Vec<Server>,
    addresses: Vec<Address>,
}

impl Plan {
    /// The plan of a configuration in TOML.
    ///
    /// # Panics
    /// If the configuration has errors.
    pub(super) fn of(installation: &Installation, config: &str) -> Self {
        let folder = installation.folder.path();
        let file = folder.join("tintype.toml");
        fs::write(&file, config).expect("the configuration can be written");
        let configs = (0..installation.profile.nodes()).map(|index| {
            let environment = installation.environment().into_iter();
            let mut config = Config::load(Some(&file), environment).unwrap_or_else(|errors| panic!("{errors}"));
            adapt(&mut config);
            config.data_dir = folder.join(if index == 0 { "data".to_owned() } else { format!("data-{index}") });
            config
        });
        let mut plan = Self { configs: configs.collect(), fronts: Vec::new(), is_at_one_node: AtomicBool::new(false) };
        if plan.configs.len() > 1 {
            plan.fronts = fronts(&plan.configs[0]);
            for config in &mut plan.configs {
                make_one_of_several(config, folder);
            }
        }
        plan
    }

    /// Has the nodes be reached where these are.
    pub(super) fn stay_where(&mut self, nodes: &Nodes) {
        self.fronts = nodes.balancers.iter().map(Balancer::address).collect();
        let first = nodes.addresses.iter().find(|address| matches!(address, Address::Tcp(_))).map(socket_address);
        if let (Some(address), [config]) = (first, &mut self.configs[..]) {
            config.http.listen = vec![ListenAddress::Tcp(address)];
        }
    }

    /// Has every connection go to the first node from now on, also when they are started again.
    pub(super) fn stay_at_one_node(&self, nodes: &Nodes) {
        self.is_at_one_node.store(true, Ordering::Relaxed);
        nodes.balancers.iter().for_each(Balancer::stay);
    }

    /// Starts the nodes.
    ///
    /// # Errors
    /// What an operator would read, if one does not start.
    pub(super) async fn launch(&self, clock: &Arc<ManualClock>) -> anyhow::Result<Nodes> {
        // Listening comes first: what nodes cause when they start reaches them when all have started.
        let fronts = self.fronts.iter().map(|address| Front::listen(*address)).collect::<Result<Vec<_>, _>>()?;
        let mut running = Vec::new();
        // One after the other: the first one makes what all of them share.
        for config in &self.configs {
            let start = Server::start(config, Arc::<ManualClock>::clone(clock) as Arc<dyn Clock>, None);
            running.push(timeout(PATIENCE, Box::pin(start)).await??);
        }
        let balance = |(index, front): (usize, Front)| {
            let balancer = front.balance(running.iter().map(|node| socket_address(&node.addresses()[index])).collect());
            if self.is_at_one_node.load(Ordering::Relaxed) {
                balancer.stay();
            }
            balancer
        };
        let balancers = fronts.into_iter().enumerate().map(balance).collect::<Vec<_>>();
        let mut addresses = running[0].addresses().to_vec();
        for (address, balancer) in addresses.iter_mut().zip(&balancers) {
            *address = match address {
                Address::Tls(_) => Address::Tls(balancer.address()),
                Address::Tcp(_) | Address::Unix(_) => Address::Tcp(balancer.address()),
            };
        }
        Ok(Nodes { balancers, running, addresses })
    }
}

impl Nodes {
    /// Where clients reach them.
    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where clients would reach one of them.
    pub(super) fn address_of(&self, index: usize) -> SocketAddr {
        socket_address(&self.running[index].addresses()[0])
    }

    /// Where their metrics and health are.
    pub(super) fn telemetry(&self) -> impl Iterator<Item = SocketAddr> {
        self.running.iter().map(|node| socket_address(node.telemetry_address()))
    }

    /// Stops them in order, all at once.
    ///
    /// # Panics
    /// If they do not end.
    pub(super) async fn drain(self) {
        drop(self.balancers);
        let draining = join_all(self.running.into_iter().map(Server::drain));
        timeout(PATIENCE, Box::pin(draining)).await.expect("the server ends");
    }
}

/// Gives a server of a test free ports, and no name server that is not the test's.
fn adapt(config: &mut Config) {
    let defaults = Config::standalone();
    if config.http.listen == defaults.http.listen {
        config.http.listen = vec![ListenAddress::Tcp(FREE_PORT)];
    }
    if config.telemetry.listen == defaults.telemetry.listen {
        config.telemetry.listen = ListenAddress::Tcp(FREE_PORT);
    }
    if config.federation.nameservers.is_empty() {
        // Nobody answers there.
        config.federation.nameservers = vec![(Ipv4Addr::LOCALHOST, 1).into()];
    }
}

/// Where clients are to reach a server.
fn fronts(config: &Config) -> Vec<SocketAddr> {
    let listen = config.http.listen.iter().map(|address| match address {
        // One that is kept over a restart, and that no connection to somewhere takes meanwhile.
        ListenAddress::Tcp(address) if address.port() == 0 => (address.ip(), port::free_at(address.ip())).into(),
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(_) => panic!("a socket file belongs to one node: the test is `embedded_only!`"),
    });
    listen.chain(config.http.tls_listen.iter().copied()).collect()
}

/// Has the node listen behind the balancer, and sign with the key that all of them have.
fn make_one_of_several(config: &mut Config, folder: &Path) {
    config.http.listen.fill(ListenAddress::Tcp(FREE_PORT));
    config.http.tls_listen.fill(FREE_PORT);
    let file = |name: &str| folder.join(format!("{}.signing.key", name.replace(':', "_")));
    for server in config.server.iter_mut().filter(|server| server.owns_name()) {
        server.signing_key_file.get_or_insert_with(|| file(server.name.as_str()));
    }
}

fn socket_address(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) | Address::Tls(address) => *address,
        Address::Unix(path) => panic!("{} is no address of TCP", path.display()),
    }
}
