//! Free ports of the loopback address.
//!
//! They are taken from below the range that outgoing connections use, so that nothing takes one between this answer
//! and the program that is to listen there; each process starts looking somewhere else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::TcpSocket;

const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on 127.0.0.1 that nothing listens on, never the same twice in a process.
pub fn free() -> u16 {
    // Far enough apart that two processes of one run do not meet.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let candidate = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(candidate).expect("the range lies below 65,536");
        if nothing_listens_on(port) {
            return port;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
}

// The socket is bound but never listens: a program that is being started by another test holds a copy of it for a
// moment, and a listening copy would keep the port taken.
fn nothing_listens_on(port: u16) -> bool {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("a socket has options");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}
