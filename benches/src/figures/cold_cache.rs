//! Whether a file that has to come from the disk stalls those who ask for something else.
//!
//! Four connections each read a quarter of a 1 GiB file at a steady pace while 10 KiB downloads are timed: once with
//! the file in the page cache, once with it evicted. The pace is the same, so only the disk makes a difference.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use super::{Bench, MIB, Medians};
use crate::connection::Connection;
use crate::load::{self, float, noise};
use crate::report::{Report, Target, Unit};
use crate::server::{Kind, Server, Stored};

const LENGTH: u64 = 1024 * MIB;
const READERS: u64 = 4;
const READER_PACE: u64 = 64 * MIB;
const ASKING: u32 = 4;
/// With four connections, 2,000 requests a second: far from saturation, enough for a 99th percentile.
const PACE: Duration = Duration::from_millis(2);
/// The readers need four seconds for their quarters.
const WINDOW: Duration = Duration::from_millis(3500);

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut quiet = Medians(Vec::new());
    let mut warm = Medians(Vec::new());
    let mut cold = Medians(Vec::new());
    for kind in [Kind::Tintype, Kind::Nginx] {
        for server in bench.start(&[kind])? {
            let large = server.store(&noise(usize::try_from(LENGTH)?), "application/octet-stream")?;
            let small = server.store(&noise(10 * 1024), "application/octet-stream")?;
            let blob = blob_of(&server)?;
            rustix::fs::sync();
            for _ in 0..bench.runs {
                quiet.0.push((kind, p99(&server, &small)?));
                fs::copy(&blob, "/dev/null")?;
                warm.0.push((kind, p99_while_reading(&server, &small, &large)?));
                evict(&blob)?;
                let before = server.process().usage()?.read_from_disk;
                cold.0.push((kind, p99_while_reading(&server, &small, &large)?));
                let read = server.process().usage()?.read_from_disk - before;
                ensure!(read > LENGTH / 2, "only {} MiB came from the disk: the cache was not cold", read / MIB);
            }
        }
    }

    let what = "99th percentile of 10 KiB downloads while 1 GiB is read";
    let (ours, theirs) = (cold.of(Kind::Tintype), warm.of(Kind::Tintype));
    report.compare(&format!("{what} cold"), Unit::Time, Target::AtMost(2.0), ours, ("Tintype with it cached", theirs));
    report.compare(&format!("{what} cold"), Unit::Time, Target::Reference, ours, cold.beside(Kind::Nginx));
    for kind in [Kind::Tintype, Kind::Nginx] {
        let milliseconds = |medians: &Medians| medians.of(kind).unwrap_or_default() * 1e3;
        if bench.servers.contains(&kind) {
            report.note(format!(
                "{}'s 99th percentile: {:.2} ms with nothing else going on, {:.2} ms beside cached downloads, \
                 {:.2} ms beside cold ones.",
                kind.name(),
                milliseconds(&quiet),
                milliseconds(&warm),
                milliseconds(&cold)
            ));
        }
    }
    Ok(())
}

fn p99(server: &Server, small: &Stored) -> Result<f64> {
    let sorted = load::latencies(server, small, ASKING, PACE, WINDOW)?;
    Ok(sorted[sorted.len() * 99 / 100].as_secs_f64())
}

fn p99_while_reading(server: &Server, small: &Stored, large: &Stored) -> Result<f64> {
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..READERS).map(|quarter| scope.spawn(move || read_quarter(server, large, quarter))).collect();
        let measured = p99(server, small);
        for reader in readers {
            reader.join().expect("a reader does not panic")?;
        }
        measured
    })
}

fn read_quarter(server: &Server, large: &Stored, quarter: u64) -> Result<()> {
    let length = large.length / READERS;
    let first = quarter * length;
    let mut connection = Connection::open(server.address)?;
    connection.send(&server.get(&large.path, &format!("Range: bytes={first}-{}\r\n", first + length - 1)))?;
    let head = connection.expect_status(206)?;
    ensure!(head.content_length == Some(length), "{head:?} instead of {length} bytes");
    load::paced(&mut connection, length, READER_PACE)
}

/// The file that a server keeps the large body in: the only one of its length.
fn blob_of(server: &Server) -> Result<PathBuf> {
    let mut folders = vec![server.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.len() == LENGTH {
                return Ok(entry.path());
            }
        }
    }
    None.with_context(|| format!("{} has no file of {LENGTH} bytes", server.kind.name()))
}

/// Drops a file from the page cache, and makes sure of it.
fn evict(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    let cached = (0..LENGTH / MIB).filter(|mebibyte| {
        let mut byte = [0];
        let mut slices = [IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(&file, &mut slices, mebibyte * MIB, ReadWriteFlags::NOWAIT).is_ok()
    });
    let cached = cached.count();
    ensure!(float(cached as u64) < float(LENGTH / MIB) / 10.0, "{cached} of 1,024 samples stayed in the page cache");
    Ok(())
}
