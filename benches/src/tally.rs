//! A way to a server that counts what goes over it: statements of PostgreSQL, or requests of HTTP.
//!
//! What is counted is what the client sends, read as far as it takes to tell one message from the next: so it does not matter
//! who sends it, nor what the server makes of it.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `PostgreSQL`, not encrypted.
    Postgres,
    /// HTTP/1.1.
    Http,
}

/// A way to a server.
#[derive(Debug)]
pub struct Tally {
    address: SocketAddr,
    count: Arc<AtomicU64>,
}

impl Tally {
    /// A way to this server.
    ///
    /// # Errors
    /// When no port is free.
    pub fn to(target: SocketAddr, protocol: Protocol) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let count = Arc::<AtomicU64>::default();
        let counting = Arc::clone(&count);
        // It ends with the process: there are a few of them in a run.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&counting);
                std::thread::spawn(move || {
                    // An end that is gone closes the other one; there is nobody to tell why.
                    let _ = connection(&client, target, protocol, &count);
                });
            }
        });
        Ok(Self { address, count })
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

fn connection(client: &TcpStream, target: SocketAddr, protocol: Protocol, count: &AtomicU64) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let passed = match protocol {
        Protocol::Postgres => statements(&mut BufReader::new(client), &mut &server, count),
        Protocol::Http => requests(&mut BufReader::new(client), &mut &server, count),
    };
    let _ = server.shutdown(Shutdown::Both);
    passed
}

/// Messages of a client (`PostgreSQL`, "Message Formats"): a type, a length that counts itself, and the rest. Only the first
/// one has no type.
fn statements(from: &mut impl Read, to: &mut impl Write, count: &AtomicU64) -> io::Result<()> {
    let mut message = Vec::new();
    let mut is_first = true;
    loop {
        message.resize(if is_first { 4 } else { 5 }, 0);
        from.read_exact(&mut message)?;
        let (kind, length) = message.split_at(message.len() - 4);
        if matches!(kind, b"E" | b"Q") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let length = u32::from_be_bytes(length.try_into().map_err(io::Error::other)?);
        let head = message.len();
        message.resize(head + (length as usize).saturating_sub(4), 0);
        from.read_exact(&mut message[head..])?;
        to.write_all(&message)?;
        is_first = false;
    }
}

/// Requests whose bodies, if they have any, say how long they are.
fn requests(from: &mut impl io::BufRead, to: &mut impl Write, count: &AtomicU64) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.clear();
        let mut length = 0;
        loop {
            let begins = head.len();
            if from.read_until(b'\n', &mut head)? == 0 {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&head[begins..]).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line.starts_with("transfer-encoding:") {
                return Err(io::Error::other("a body without a length"));
            }
            if line == "\r\n" {
                break;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
        to.write_all(&head)?;
        io::copy(&mut from.by_ref().take(length), to)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pass: impl Fn(&mut &[u8], &mut Vec<u8>, &AtomicU64) -> io::Result<()>, sent: &[u8]) -> (u64, bool) {
        let (count, mut passed) = (AtomicU64::new(0), Vec::new());
        let _ = pass(&mut &*sent, &mut passed, &count);
        (count.into_inner(), passed == sent)
    }

    #[test]
    fn statements_are_counted_when_they_are_executed() {
        let startup = b"\0\0\0\x08\0\x03\0\0";
        let parsed = b"P\0\0\0\x08\0\0\0\0";
        let executed = b"E\0\0\0\x09\0\0\0\0\0";
        let sent = [startup.as_slice(), parsed, executed, executed, b"Q\0\0\0\x0aBEGIN\0"].concat();

        assert_eq!(counted(|from, to, count| statements(from, to, count), &sent), (3, true));
    }

    #[test]
    fn requests_are_counted_and_what_is_in_their_bodies_is_not() {
        let sent = b"PUT /a HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n..GET /b HTTP/1.1\r\n\r\n";

        assert_eq!(counted(|from, to, count| requests(from, to, count), sent), (2, true));
    }
}
