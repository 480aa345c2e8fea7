//! Uploads: Tintype answers when the bytes are on stable storage; Synapse syncs its database but not its files.

use anyhow::Result;

use super::{Bench, MIB, Medians};
use crate::load::{self, Throughput, Until};
use crate::report::{Report, Target, Unit};
use crate::server::{Kind, Server};

const BOTH: [Kind; 2] = [Kind::Tintype, Kind::Synapse];

pub(super) fn small(bench: &Bench, report: &mut Report) -> Result<()> {
    let servers = bench.start(&BOTH)?;
    let until = Until::Elapsed(bench.window);
    let rates = runs(bench, &servers, 10 * 1024, 16, until, |measured| measured.requests_per_second)?;
    let ours = rates.of(Kind::Tintype);
    let theirs = rates.beside(Kind::Synapse);
    report.compare("durable 10 KiB upload, 16 connections", Unit::Rate, Target::AtLeast(10.0), ours, theirs);
    Ok(())
}

pub(super) fn large(bench: &Bench, report: &mut Report) -> Result<()> {
    // So many uploads, not so many seconds, of the largest: what is left on the disk stays bounded.
    let hundreds = |connections: u64| Until::Uploaded(connections * if bench.runs == 1 { 4 } else { 8 });
    for (length, connections, until, target) in [
        (MIB, 16, Until::Elapsed(bench.window), 3.0),
        (100 * MIB, 1, hundreds(1), 2.0),
        (100 * MIB, 4, hundreds(4), 2.0),
    ] {
        let servers = bench.start(&BOTH)?;
        let rates = runs(bench, &servers, length, connections, until, |measured| measured.bytes_per_second)?;
        let plural = if connections == 1 { "" } else { "s" };
        let what = format!("durable {} MiB upload, {connections} connection{plural}", length / MIB);
        let ours = rates.of(Kind::Tintype);
        report.compare(&what, Unit::Bandwidth, Target::AtLeast(target), ours, rates.beside(Kind::Synapse));
    }
    Ok(())
}

fn runs(
    bench: &Bench,
    servers: &[Server],
    length: u64,
    connections: usize,
    until: Until,
    quantity: fn(&Throughput) -> f64,
) -> Result<Medians> {
    for server in servers {
        load::upload(server, length, connections, Until::Uploaded(connections as u64))?;
    }
    bench.medians(servers, |server| {
        let measured = load::upload(server, length, connections, until)?;
        Ok((server.kind, quantity(&measured)))
    })
}
