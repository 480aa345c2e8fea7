//! Memory of large transfers: how far the anonymous memory of a server that was just started grows at its highest.
//!
//! One run on a fresh server each, no median: an allocator that keeps what it once had would make every later
//! run look better than the first.

use std::fs;

use anyhow::Result;

use super::{Bench, MIB};
use crate::load::{self, Until, float, noise};
use crate::report::{Report, Unit, mebibytes};
use crate::server::{Kind, Server};

const BOTH: [Kind; 2] = [Kind::Tintype, Kind::Synapse];
const LENGTH: u64 = 100 * MIB;
const AT_ONCE: usize = 64;

pub(super) fn uploads(bench: &Bench, report: &mut Report) -> Result<()> {
    for (connections, bound, what) in
        [(1, 16, "memory growth, one 100 MiB upload"), (AT_ONCE, 100, "memory growth, 64 uploads of 100 MiB at once")]
    {
        measured(bench, report, what, bound, |server| {
            let (growth, _) = server
                .process()
                .growth_during(|| load::upload(server, LENGTH, connections, Until::Uploaded(connections as u64)))?;
            Ok(growth)
        })?;
    }
    Ok(())
}

pub(super) fn downloads(bench: &Bench, report: &mut Report) -> Result<()> {
    let body = noise(usize::try_from(LENGTH)?);
    measured(bench, report, "memory growth, 64 downloads of 100 MiB at once", 64, |server| {
        let stored = server.store(&body, "application/octet-stream")?;
        // The upload's own growth is another figure's; what it left behind is not counted a second time.
        let (growth, ()) =
            server.process().growth_during(|| load::download_slowly(server, &stored, AT_ONCE, 16 * MIB))?;
        Ok(growth)
    })
}

/// Synapse holds what slow readers have not taken yet, more than 10 GiB in this figure.
pub(super) fn has_memory_for(kind: Kind) -> bool {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
    let available: u64 = available.and_then(|kib| kib.parse().ok()).unwrap_or(0);
    kind == Kind::Tintype || available * 1024 > 16 * 1024 * MIB
}

fn measured(
    bench: &Bench,
    report: &mut Report,
    what: &str,
    bound: u64,
    growth: impl Fn(&Server) -> Result<u64>,
) -> Result<()> {
    let mut grown = Vec::new();
    for kind in BOTH.into_iter().filter(|kind| has_memory_for(*kind)) {
        // One after the other: each has the whole machine.
        for server in bench.start(&[kind])? {
            let warm = server.store(&noise(10 * 1024), "application/octet-stream")?;
            load::download_slowly(&server, &warm, 1, MIB)?;
            grown.push((kind, float(growth(&server)?)));
        }
    }
    let of = |kind| grown.iter().find(|(of, _)| *of == kind).map(|(_, growth)| *growth);
    report.bound(what, Unit::Memory, mebibytes(bound), of(Kind::Tintype), (Kind::Synapse.name(), of(Kind::Synapse)));
    Ok(())
}
