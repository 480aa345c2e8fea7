//! Ten thousand downloads that wait for an upload: the memory that they take, what they cost those who download what is
//! there, and how soon all are answered.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use crate::asynchronous::{Sender, allow_connections, until_waiting};
use crate::connection::Connection;
use crate::load::{self, float, noise};
use crate::report::{Report, Target, Unit, mebibytes};
use crate::server::{Kind, Reserved, Server};
use crate::wrk;

const LENGTH: u64 = 10 * 1024;
/// As many as one user may have waiting, and so many users that together they are as many as may wait at all.
const EACH: usize = 1000;
const USERS: usize = 10;
const WAITING: usize = EACH * USERS;
const THREADS: usize = 4;
/// What the benchmark opens besides.
const SPARE: u64 = 200;
/// What the waiting cost is measured when the last of them has been taken in for so long.
const SETTLING: Duration = Duration::from_secs(1);

/// A run of downloads of what is there.
struct Measured {
    per_second: f64,
    /// Microseconds of the server's CPU time for one.
    cpu: f64,
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    allow_connections(WAITING as u64 + SPARE)?;
    for server in bench.start(&[Kind::Tintype])? {
        let users = (0..USERS)
            .map(|user| server.log_in(&format!("waiting{user}"))?.context("Tintype gives tokens"))
            .collect::<Result<Vec<_>>>()?;
        let stored = server.store(&noise(10 * 1024), "application/octet-stream")?;
        let download = || -> Result<Measured> {
            rustix::fs::sync();
            let before = server.process().usage()?.cpu;
            let measured = wrk::download(&bench.programs.wrk, &server, &stored, bench.window)?;
            let spent = server.process().usage()?.cpu.saturating_sub(before);
            Ok(Measured { per_second: measured.per_second, cpu: spent.as_secs_f64() * 1e6 / measured.requests })
        };
        download()?;

        let (mut grown, mut answering) = (Vec::new(), Vec::new());
        let (mut quiet, mut busy, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..bench.runs {
            // They take turns at going first.
            if run.is_multiple_of(2) {
                quiet.push(download()?);
            }
            let reserved = server.reserve()?;
            let (growth, crowd) = server.process().growth_during(|| {
                let crowd = Crowd::gather(&server, &users, &reserved)?;
                std::thread::sleep(SETTLING);
                Ok(crowd)
            })?;
            grown.push(growth);
            busy.push(download()?);
            until_waiting(&server, WAITING as u64)?;
            let (growth, latest) = server.process().growth_during(|| crowd.answered(&server, &reserved))?;
            answering.push(growth);
            answered.push(latest.as_secs_f64());
            if !run.is_multiple_of(2) {
                quiet.push(download()?);
            }
        }

        let median = |measured: Vec<f64>| super::median(measured.into_iter());
        // The first time only: later ones find what the allocator has kept.
        let growth = grown.first().map(|growth| float(*growth));
        report.bound("memory growth, 10,000 waiting downloads", Unit::Memory, mebibytes(160), growth, ("", None));
        let what = "10 KiB downloads, 64 connections, while 10,000 wait";
        let median_of =
            |measured: &[Measured], quantity: fn(&Measured) -> f64| median(measured.iter().map(quantity).collect());
        let (alone, beside) = (median_of(&quiet, |run| run.per_second), median_of(&busy, |run| run.per_second));
        report.compare(what, Unit::Rate, Target::AtLeast(0.9), beside, ("Tintype with nobody waiting", alone));
        report.note(format!(
            "10,000 waiting downloads take {:.1} KiB of memory each, and {:.0} MiB more altogether while they are \
             answered.",
            growth.unwrap_or_default() / float(WAITING as u64) / 1024.0,
            answering.first().map_or(0.0, |growth| float(*growth)) / mebibytes(1),
        ));
        report.note(format!(
            "A 10 KiB download takes {:.1} µs of CPU time while 10,000 wait, {:.1} µs while nobody does.",
            median_of(&busy, |run| run.cpu).unwrap_or_default(),
            median_of(&quiet, |run| run.cpu).unwrap_or_default(),
        ));
        report.note(format!(
            "All 10,000 had their whole answer of 10 KiB {:.0} ms after the last byte of the upload was sent.",
            median(answered).unwrap_or_default() * 1e3
        ));
    }
    Ok(())
}

/// Downloads that wait for the same upload.
struct Crowd(Vec<Vec<Connection>>);

impl Crowd {
    /// Asks on a connection for each, and returns when all of them wait.
    fn gather(server: &Server, users: &[String], reserved: &Reserved) -> Result<Self> {
        let path = format!("{}?timeout_ms=60000", reserved.path);
        let asked = load::on_threads(THREADS, |thread| {
            let mut asked = Vec::new();
            for waiting in (thread..WAITING).step_by(THREADS) {
                let mut connection = Connection::open(server.address)?;
                connection.send(&server.get_as(&users[waiting % users.len()], &path))?;
                asked.push(connection);
            }
            Ok(asked)
        })?;
        until_waiting(server, WAITING as u64)?;
        Ok(Self(asked))
    }

    /// Uploads what they wait for, and returns how long after its last byte the last of them had all of it.
    fn answered(self, server: &Server, reserved: &Reserved) -> Result<Duration> {
        let mut sender = Sender::to(server, reserved, LENGTH)?;
        std::thread::scope(|scope| {
            let readers: Vec<_> = self.0.into_iter().map(|part| scope.spawn(move || read(part))).collect();
            let sent = sender.send(usize::try_from(LENGTH)?).map(|_| Instant::now());
            let acknowledged = sender.acknowledged();
            let ends = readers.into_iter().map(|reader| reader.join().expect("a reader does not panic"));
            let last = ends.collect::<Result<Vec<_>>>()?.into_iter().max().context("somebody has waited")?;
            acknowledged?;
            Ok(last.saturating_duration_since(sent?))
        })
    }
}

/// Reads one answer after the other: what arrives early stays in the kernel until it is its turn.
fn read(connections: Vec<Connection>) -> Result<Instant> {
    for mut connection in connections {
        let head = connection.expect_status(200)?;
        ensure!(head.content_length == Some(LENGTH), "{head:?} instead of {LENGTH} bytes");
        connection.body(head)?;
    }
    Ok(Instant::now())
}
