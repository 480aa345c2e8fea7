//! Free ports of the loopback address, for servers whose name has to be known before they listen.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use tintype_domain::{OsRandomness, Randomness as _};

/// Below the ports that the system gives to outgoing connections, so that none of them takes it before the server does.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// How often it is tried.
const TRIES: u32 = 1_000;

/// A port on 127.0.0.1 that nothing listens on, and none that this process was given before. They begin at random, so that
/// programs that run at once hardly meet.
pub fn free() -> u16 {
    free_at(Ipv4Addr::LOCALHOST.into())
}

/// The same on another loopback address.
pub(crate) fn free_at(address: IpAddr) -> u16 {
    let free = (0..TRIES).map(|_| next()).find(|&port| TcpListener::bind(SocketAddr::new(address, port)).is_ok());
    free.expect("one of so many ports is free")
}

fn next() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let mut bytes = [0; 2];
        OsRandomness.fill(&mut bytes);
        AtomicU16::new(u16::from_le_bytes(bytes))
    });
    FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT
}
