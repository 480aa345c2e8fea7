//! Free ports of the loopback address.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
};

/// Below the ports that the system gives to outgoing connections, and so low that SeaweedFS, which takes the port 10,000
/// above each of its own as well, finds that one free too.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// How often it is tried.
const TRIES: u32 = 1_000;

/// A port on 127.0.0.1 that nothing listens on, as `above` above it; chosen at random, so that programs that run at once
/// hardly meet.
pub(crate) fn free(above: &[u16]) -> u16 {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let random = || {
        let number = RandomState::new().build_hasher().finish();
        FIRST + u16::try_from(number % u64::from(COUNT)).unwrap_or(0)
    };
    let free =
        (0..TRIES).map(|_| random()).find(|&port| is_free(port) && above.iter().all(|more| is_free(port + more)));
    free.expect("one of so many ports is free")
}
