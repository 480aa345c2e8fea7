//! Media of another server behind a slow link: how soon its first byte is at the client, and what it takes to give it to
//! many who ask at once.
//!
//! The origin is a Tintype; without one among the servers that take part it is a Synapse. Each download is of media that
//! nobody has asked for before, and the next one begins when it is over, so that it has the link to itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::memory::has_memory_for;
use super::{Bench, MIB, Medians};
use crate::connection::Connection;
use crate::link::{Link, Speed};
use crate::load::{self, float, noise};
use crate::report::{Report, Target, Unit, mebibytes};
use crate::server::{Certificate, Federation, Kind, Server, Stored, free_address};

const BOTH: [Kind; 2] = [Kind::Tintype, Kind::Synapse];
const LENGTH: u64 = 100 * MIB;
const LINK: Speed = Speed { delay: Duration::from_millis(20), bits_per_second: 50_000_000 };
const CROWD: usize = 64;
/// A server writes its log in batches; Synapse's are the rarest, every five seconds.
const LOGGED_WITHIN: Duration = Duration::from_secs(6);

pub(super) fn first_byte(bench: &Bench, report: &mut Report) -> Result<()> {
    let certificate = Certificate::make(&bench.programs)?;
    let origin = Origin::start(bench, &certificate)?;
    let servers = readers(bench, &BOTH, &certificate)?;
    for server in &servers {
        // Connections, keys, and what servers remember of each other.
        fetch(server, &origin.store(1024)?)?;
    }
    let (mut first, mut whole) = (Medians(Vec::new()), Medians(Vec::new()));
    for _ in 0..bench.runs {
        for server in &servers {
            let stored = origin.store(LENGTH)?;
            rustix::fs::sync();
            let fetched = fetch(server, &stored)?;
            first.0.push((server.kind, fetched.first.as_secs_f64()));
            whole.0.push((server.kind, fetched.whole.as_secs_f64()));
        }
    }
    let (what, target) = ("first byte of 100 MiB from another server, 20 ms and 50 Mbit/s", Target::AtMost(0.1));
    report.compare(what, Unit::Time, target, first.of(Kind::Tintype), first.beside(Kind::Synapse));
    let (what, target) = ("all of it", Target::Reference);
    report.compare(what, Unit::Time, target, whole.of(Kind::Tintype), whole.beside(Kind::Synapse));
    report.note(format!("The origin is a {}.", origin.server.kind.name()));
    Ok(())
}

pub(super) fn crowd(bench: &Bench, report: &mut Report) -> Result<()> {
    let certificate = Certificate::make(&bench.programs)?;
    let (mut grown, mut fetches) = (Vec::new(), Vec::new());
    for kind in BOTH.into_iter().filter(|kind| has_memory_for(*kind)) {
        // One after the other: each has the whole machine, and an origin that has served nobody else.
        let origin = Origin::start(bench, &certificate)?;
        for server in readers(bench, &[kind], &certificate)? {
            fetch(&server, &origin.store(1024)?)?;
            let stored = origin.store(LENGTH)?;
            let before = origin.link.carried();
            let (growth, _) =
                server.process().growth_during(|| load::on_threads(CROWD, |_| fetch(&server, &stored)))?;
            let carried = origin.link.carried() - before;
            grown.push((kind, float(growth)));
            fetches.push((kind, float(origin.downloads_of(&stored)?)));
            report.note(format!(
                "{} took {:.1} MiB over the link for {CROWD} downloads of {} MiB.",
                kind.name(),
                float(carried) / mebibytes(1),
                LENGTH / MIB,
            ));
        }
    }
    let of = |all: &[(Kind, f64)], kind| all.iter().find(|(of, _)| *of == kind).map(|(_, quantity)| *quantity);
    for (what, unit, bound, all) in [
        ("memory growth, 64 downloads at once of one remote file of 100 MiB", Unit::Memory, mebibytes(64), &grown),
        ("downloads that the origin serves for them", Unit::Count, 1.0, &fetches),
    ] {
        report.bound(what, unit, bound, of(all, Kind::Tintype), (Kind::Synapse.name(), of(all, Kind::Synapse)));
    }
    Ok(())
}

/// A server with media, and the link to it.
struct Origin {
    server: Server,
    link: Link,
}

impl Origin {
    fn start(bench: &Bench, certificate: &Certificate) -> Result<Self> {
        let kind = if bench.servers.contains(&Kind::Tintype) { Kind::Tintype } else { Kind::Synapse };
        let listens = free_address()?;
        let link = Link::to(listens, LINK)?;
        let federation = Federation { certificate, port: link.port(), listens };
        Ok(Self { server: Server::start_federating(kind, &bench.programs, federation)?, link })
    }

    /// Media of so many bytes that nobody has asked for, and that no server has under another name.
    fn store(&self, length: u64) -> Result<Stored> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let mut bytes = noise(usize::try_from(length)?);
        bytes[..8].copy_from_slice(&SERIAL.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        self.server.store(&bytes, "application/octet-stream")
    }

    /// How many downloads of some media it has logged, at whichever endpoint.
    fn downloads_of(&self, stored: &Stored) -> Result<u64> {
        let media_id = stored.path.rsplit('/').next().context("a path has a last part")?;
        std::thread::sleep(LOGGED_WITHIN);
        self.server.logged(|line| line.contains("/download/") && line.contains(media_id))
    }
}

fn readers(bench: &Bench, kinds: &[Kind], certificate: &Certificate) -> Result<Vec<Server>> {
    let wanted = kinds.iter().filter(|kind| bench.servers.contains(kind));
    let started =
        wanted.map(|kind| Server::start_federating(*kind, &bench.programs, Federation::directly(certificate)?));
    started.collect()
}

/// How long after the request something was there.
struct Fetched {
    first: Duration,
    whole: Duration,
}

/// Downloads remote media.
fn fetch(server: &Server, stored: &Stored) -> Result<Fetched> {
    let mut connection = Connection::open(server.address)?;
    let asked = Instant::now();
    connection.send(&server.get(&stored.path, ""))?;
    let head = connection.expect_status(200)?;
    connection.await_body()?;
    let first = asked.elapsed();
    let length = connection.discard(head)?;
    ensure!(length == stored.length, "{length} bytes instead of {}", stored.length);
    Ok(Fetched { first, whole: asked.elapsed() })
}
