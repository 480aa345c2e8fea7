//! Closed-loop load: so many connections, each asking again as soon as it was answered.
//!
//! Every uploaded body is unique, so that no server can answer from a digest that it already knows.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::connection::Connection;
use crate::server::{Server, Stored};

/// Bodies are this block again and again, after a beginning of their own: large enough to defeat compression,
/// small enough to stay in the processor's cache, so that the client costs little.
const BLOCK: usize = 1024 * 1024;
const MIB: u64 = 1024 * 1024;

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// What one run of load came to.
#[derive(Debug, Clone, Copy)]
pub struct Throughput {
    /// Whole requests per second.
    pub requests_per_second: f64,
    /// Bytes of bodies per second.
    pub bytes_per_second: f64,
}

/// When a run of uploads ends; uploads that have begun are always finished and counted.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// No upload begins later than this.
    Elapsed(Duration),
    /// So many uploads altogether.
    Uploaded(u64),
}

/// Downloads one medium on so many connections for as long as `window` and counts what arrived within it.
///
/// # Errors
/// When any answer was not a 200 with the right length.
pub fn download(server: &Server, stored: &Stored, connections: usize, window: Duration) -> Result<Throughput> {
    let request = server.get(&stored.path, "");
    let start = Barrier::new(connections);
    let counts = on_threads(connections, |_| {
        let (mut connection, began) = open_together(server, &start)?;
        let (mut requests, mut bytes) = (0, 0);
        let deadline = began + window;
        while Instant::now() < deadline {
            connection.send(&request)?;
            let head = connection.expect_status(200)?;
            ensure!(head.content_length == Some(stored.length), "{head:?} instead of {} bytes", stored.length);
            let mut left = stored.length;
            while left > 0 && Instant::now() < deadline {
                let discarded = connection.discard_some(left)?;
                left -= discarded;
                bytes += discarded;
            }
            requests += u64::from(left == 0);
            if head.closes {
                connection = Connection::open(server.address)?;
            }
        }
        Ok((requests, bytes))
    })?;
    Ok(throughput(&counts, window))
}

/// Uploads unique bodies of `length` bytes on so many connections; the time counts until the last is acknowledged.
///
/// # Errors
/// When any answer was not a 200.
pub fn upload(server: &Server, length: u64, connections: usize, until: Until) -> Result<Throughput> {
    let block = noise(BLOCK);
    let taken = AtomicU64::new(0);
    let start = Barrier::new(connections);
    let counts = on_threads(connections, |index| {
        let (mut connection, began) = open_together(server, &start)?;
        let mut requests = 0;
        loop {
            let goes_on = match until {
                Until::Elapsed(window) => began.elapsed() < window,
                Until::Uploaded(count) => taken.fetch_add(1, Ordering::Relaxed) < count,
            };
            if !goes_on {
                break;
            }
            send_unique(server, &mut connection, length, &block)
                .with_context(|| format!("upload {requests} on connection {index}"))?;
            requests += 1;
        }
        Ok(((requests, requests * length), began.elapsed()))
    })?;
    let elapsed = counts.iter().map(|(_, elapsed)| *elapsed).max().unwrap_or_default();
    let counts: Vec<_> = counts.into_iter().map(|(counted, _)| counted).collect();
    Ok(throughput(&counts, elapsed))
}

/// Downloads one medium once on each of so many connections, all in flight before any reads on, and each no faster
/// than `bytes_per_second`.
///
/// # Errors
/// When any answer was not a 200 or ended early.
pub fn download_slowly(server: &Server, stored: &Stored, connections: usize, bytes_per_second: u64) -> Result<()> {
    let request = server.get(&stored.path, "");
    let start = Barrier::new(connections);
    on_threads(connections, |_| {
        let asked = ask(server, stored, &request);
        start.wait();
        paced(&mut asked?, stored.length, bytes_per_second)
    })?;
    Ok(())
}

/// Reads so many bytes of a body at a steady pace.
///
/// # Errors
/// When the body ends early.
pub fn paced(connection: &mut Connection, length: u64, bytes_per_second: u64) -> Result<()> {
    let began = Instant::now();
    let mut left = length;
    while left > 0 {
        left -= connection.discard_some(left.min(MIB / 4))?;
        let due = Duration::from_micros((length - left) * 1_000_000 / bytes_per_second);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    Ok(())
}

/// Latencies of requests that are sent at a steady pace, whatever the answers do: each counts from the moment
/// when it was due, so that one that stalls also delays those after it, as it would for people.
///
/// # Errors
/// When any answer was not a 200.
pub fn latencies(
    server: &Server,
    stored: &Stored,
    connections: u32,
    pace: Duration,
    window: Duration,
) -> Result<Vec<Duration>> {
    let request = server.get(&stored.path, "");
    let start = Barrier::new(connections as usize);
    let lists = on_threads(connections as usize, |index| {
        let (mut connection, began) = open_together(server, &start)?;
        // The connections take turns instead of asking all at the same moment.
        let mut due = began + pace * u32::try_from(index)? / connections;
        let mut measured = Vec::new();
        while due < began + window {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.send(&request)?;
            let head = connection.expect_status(200)?;
            connection.discard(head)?;
            measured.push(due.elapsed());
            due += pace;
        }
        Ok(measured)
    })?;
    let mut all = lists.concat();
    all.sort_unstable();
    Ok(all)
}

/// Runs the same work on so many threads and waits for all.
///
/// # Errors
/// The first error of any.
pub fn on_threads<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || work(index))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a load thread does not panic")).collect()
    })
}

/// Incompressible bytes, the same every time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Opens a connection and waits until all the others are open, or have failed to; returns the moment too.
fn open_together(server: &Server, start: &Barrier) -> Result<(Connection, Instant)> {
    let opened = Connection::open(server.address);
    start.wait();
    Ok((opened?, Instant::now()))
}

fn ask(server: &Server, stored: &Stored, request: &[u8]) -> Result<Connection> {
    let mut connection = Connection::open(server.address)?;
    connection.send(request)?;
    let head = connection.expect_status(200)?;
    ensure!(head.content_length == Some(stored.length), "{head:?} instead of {} bytes", stored.length);
    Ok(connection)
}

fn send_unique(server: &Server, connection: &mut Connection, length: u64, block: &[u8]) -> Result<()> {
    let mut first = server.post("/_matrix/media/v3/upload", "application/octet-stream", length);
    let head_length = first.len();
    first.extend_from_slice(&block[..BLOCK.min(usize::try_from(length)?)]);
    first[head_length..head_length + 8].copy_from_slice(&SERIAL.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    connection.send(&first)?;
    let mut left = length.saturating_sub(BLOCK as u64);
    while left > 0 {
        let now = usize::try_from(left)?.min(BLOCK);
        connection.send(&block[..now])?;
        left -= now as u64;
    }
    let head = connection.expect_status(200)?;
    connection.discard(head)?;
    if head.closes {
        *connection = Connection::open(server.address)?;
    }
    Ok(())
}

fn throughput(counts: &[(u64, u64)], elapsed: Duration) -> Throughput {
    let requests = counts.iter().map(|(requests, _)| requests).sum();
    let bytes = counts.iter().map(|(_, bytes)| bytes).sum();
    Throughput {
        requests_per_second: float(requests) / elapsed.as_secs_f64(),
        bytes_per_second: float(bytes) / elapsed.as_secs_f64(),
    }
}

/// A count as a fraction's part.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}
