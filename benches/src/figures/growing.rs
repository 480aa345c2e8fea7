//! A hundred readers of one file that is still being uploaded, at the sender's pace, and one who reads far more slowly:
//! nobody may slow the sender, fall behind, or make the server hold what was not read yet.
//!
//! One run, no medians: it takes as long as the sender needs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Bench, MIB};
use crate::asynchronous::{Sender, until_waiting};
use crate::connection::Connection;
use crate::load::{self, float, noise};
use crate::report::{Report, Target, Unit, mebibytes};
use crate::server::{Kind, Reserved, Server};

const READERS: usize = 100;
const PACE: u64 = 16 * MIB;
const SLOW_PACE: u64 = MIB / 4;
const SLOW_PIECE: u64 = 16 * 1024;

/// What the sender saw.
struct Sent {
    /// Bytes per second until the last one was accepted.
    pace: f64,
    /// The longest that a piece of 64 KiB took to be accepted.
    longest: Duration,
    last_byte: Instant,
    acknowledged: Instant,
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let length = if bench.runs == 1 { 128 * MIB } else { 1024 * MIB };
    for server in bench.start(&[Kind::Tintype])? {
        let warm = server.store(&noise(10 * 1024), "application/octet-stream")?;
        load::download_slowly(&server, &warm, 1, MIB)?;

        let (growth, (sent, early, last)) = server.process().growth_during(|| read_by_many(&server, length))?;
        let alone = send(&server, &server.reserve()?, length, |_| Ok(()))?;

        let pace = ("Tintype without readers", Some(alone.pace));
        let what = format!("pace of a sender of {} MiB at {} MiB/s, 100 readers", length / MIB, PACE / MIB);
        report.compare(&what, Unit::Bandwidth, Target::AtLeast(0.99), Some(sent.pace), pace);
        let what = format!("memory growth, 100 readers of {} MiB while it arrives", length / MIB);
        report.bound(&what, Unit::Memory, mebibytes(64), Some(float(growth)), ("", None));
        report.note(format!(
            "With 100 readers memory had grown by {:.1} MiB when a tenth had been sent, and by {:.1} MiB at its highest.",
            float(early) / mebibytes(1),
            float(growth) / mebibytes(1),
        ));
        report.note(format!(
            "The last of 100 readers had everything {:.0} ms after the last byte was sent, {:.0} ms after the sender had \
             its answer.",
            last.saturating_duration_since(sent.last_byte).as_secs_f64() * 1e3,
            last.saturating_duration_since(sent.acknowledged).as_secs_f64() * 1e3,
        ));
        report.note(format!(
            "A piece of 64 KiB was accepted within {:.0} ms at the latest with 100 readers, within {:.0} ms without.",
            sent.longest.as_secs_f64() * 1e3,
            alone.longest.as_secs_f64() * 1e3,
        ));
    }
    Ok(())
}

/// Returns what the sender saw, by how much the memory had grown when a tenth was sent, and when the last reader (the
/// slow one aside) had everything.
fn read_by_many(server: &Server, length: u64) -> Result<(Sent, u64, Instant)> {
    let reserved = server.reserve()?;
    let before = server.process().usage()?.anonymous;
    let (mut early, is_over) = (0, AtomicBool::new(false));
    let slowly = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(server, &reserved, length))).collect();
        let slow = scope.spawn(|| read_slowly(server, &reserved, length, &slowly, &is_over));
        let sent = until_waiting(server, READERS as u64 + 1).and_then(|()| {
            send(server, &reserved, length, |sent| {
                if early == 0 && sent > length / 10 {
                    early = server.process().usage()?.anonymous.saturating_sub(before);
                }
                Ok(())
            })
        });
        let ends = readers.into_iter().map(|reader| reader.join().expect("a reader does not panic"));
        let ends: Result<Vec<_>> = ends.collect();
        is_over.store(true, Ordering::Relaxed);
        slow.join().expect("the slow reader does not panic")?;
        let slowly = slowly.load(Ordering::Relaxed);
        ensure!(0 < slowly && slowly < length / 2, "the slow reader has read {slowly} bytes");
        Ok((sent?, early, ends?.into_iter().max().context("somebody has read")?))
    })
}

fn send(server: &Server, reserved: &Reserved, length: u64, after_each: impl FnMut(u64) -> Result<()>) -> Result<Sent> {
    let mut sender = Sender::to(server, reserved, length)?;
    let began = Instant::now();
    let longest = sender.send_paced(PACE, after_each)?;
    let last_byte = Instant::now();
    sender.acknowledged()?;
    let pace = float(length) / (last_byte - began).as_secs_f64();
    Ok(Sent { pace, longest, last_byte, acknowledged: Instant::now() })
}

/// Reads as fast as it comes, and returns when the last byte was there.
fn read(server: &Server, reserved: &Reserved, length: u64) -> Result<Instant> {
    let mut connection = begin(server, reserved, length)?;
    let mut left = length;
    while left > 0 {
        left -= connection.discard_some(left)?;
    }
    Ok(Instant::now())
}

fn read_slowly(
    server: &Server,
    reserved: &Reserved,
    length: u64,
    read: &AtomicU64,
    is_over: &AtomicBool,
) -> Result<()> {
    let mut connection = begin(server, reserved, length)?;
    while !is_over.load(Ordering::Relaxed) {
        read.fetch_add(connection.discard_some(SLOW_PIECE)?, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs_f64(float(SLOW_PIECE) / float(SLOW_PACE)));
    }
    Ok(())
}

fn begin(server: &Server, reserved: &Reserved, length: u64) -> Result<Connection> {
    let mut connection = Connection::open(server.address)?;
    connection.send(&server.get(&reserved.path, ""))?;
    let head = connection.expect_status(200)?;
    ensure!(head.content_length == Some(length), "{head:?} instead of {length} bytes");
    Ok(connection)
}
