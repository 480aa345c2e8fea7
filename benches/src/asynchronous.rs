//! Uploads to URIs that were reserved first, sent piece by piece, and the downloads that wait for them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::connection::Connection;
use crate::load::{self, float};
use crate::server::{Kind, Reserved, Server};

/// A sender writes so much at once.
const PIECE: usize = 64 * 1024;
/// How long a server without gauges gets to take a request in.
const TAKING_IN: Duration = Duration::from_millis(200);

/// An upload that is under way, and breaks off when dropped.
pub struct Sender {
    connection: Connection,
    /// What the body consists of, again and again.
    block: Vec<u8>,
    /// The head of the request, until it goes out together with the first bytes.
    head: Vec<u8>,
    sent: u64,
    length: u64,
}

impl Sender {
    /// Connects; nothing is sent yet.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn to(server: &Server, reserved: &Reserved, length: u64) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(server.address)?,
            block: load::noise(PIECE),
            head: server.put(reserved, length),
            sent: 0,
            length,
        })
    }

    /// Sends so many more bytes of the body, at most 64 KiB and not beyond its end; returns how many.
    ///
    /// # Errors
    /// When the server has closed the connection or stopped reading.
    pub fn send(&mut self, bytes: usize) -> Result<u64> {
        let bytes = bytes.min(PIECE).min(usize::try_from(self.length - self.sent)?);
        self.head.extend_from_slice(&self.block[..bytes]);
        self.connection.send(&self.head)?;
        self.head.clear();
        self.sent += bytes as u64;
        Ok(bytes as u64)
    }

    /// Sends all that is left at a steady pace; `after_each` hears how many bytes have been sent. Returns the longest
    /// that a piece of 64 KiB took to be accepted.
    ///
    /// # Errors
    /// When the server has closed the connection or stopped reading, or `after_each` fails.
    pub fn send_paced(
        &mut self,
        bytes_per_second: u64,
        mut after_each: impl FnMut(u64) -> Result<()>,
    ) -> Result<Duration> {
        let (began, before) = (Instant::now(), self.sent);
        let mut longest = Duration::ZERO;
        while self.sent < self.length {
            let due = Duration::from_secs_f64(float(self.sent - before) / float(bytes_per_second));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let asked = Instant::now();
            self.send(PIECE)?;
            longest = longest.max(asked.elapsed());
            after_each(self.sent)?;
        }
        Ok(longest)
    }

    /// Waits for the server to acknowledge the whole body.
    ///
    /// # Errors
    /// When it answers with anything but 200, or the body has not been sent whole.
    pub fn acknowledged(mut self) -> Result<()> {
        ensure!(self.sent == self.length, "{} of {} bytes were sent", self.sent, self.length);
        let head = self.connection.expect_status(200)?;
        self.connection.discard(head)?;
        Ok(())
    }
}

/// Waits until so many downloads wait at the server. Only Tintype counts them; another server gets a moment.
///
/// # Errors
/// When they do not within a minute.
pub fn until_waiting(server: &Server, count: u64) -> Result<()> {
    if server.kind == Kind::Tintype {
        return server.wait_for_gauge("tintype_downloads_waiting", count);
    }
    std::thread::sleep(TAKING_IN);
    Ok(())
}

/// Lets this process open as many connections as the hard limit allows.
///
/// # Errors
/// When that is fewer than `wanted`.
pub fn allow_connections(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} open files are needed, but the limit (ulimit -Hn) is {}",
        limit.maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}
