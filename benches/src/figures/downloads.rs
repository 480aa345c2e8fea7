//! Downloads of what is in the page cache: small ones by wrk, large ones by a client that discards in the kernel.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MIB};
use crate::load::{self, noise};
use crate::report::{Report, Target, Unit};
use crate::server::{Kind, Server, Stored};
use crate::wrk;

const ALL: [Kind; 3] = [Kind::Tintype, Kind::Nginx, Kind::Synapse];
const CONNECTIONS: usize = 16;

pub(super) fn small(bench: &Bench, report: &mut Report) -> Result<()> {
    let servers = stored_on(bench, 10 * 1024)?;
    for (server, stored) in &servers {
        wrk::download(&bench.programs.wrk, server, stored, Duration::from_secs(1))?;
    }
    let mut cpu = Vec::new();
    let rates = bench.medians(&servers, |(server, stored)| {
        let before = server.process().usage()?.cpu;
        let measured = wrk::download(&bench.programs.wrk, server, stored, bench.window)?;
        let spent = server.process().usage()?.cpu.saturating_sub(before);
        cpu.push((server.kind, spent.as_secs_f64() * 1e6 / measured.requests));
        Ok((server.kind, measured.per_second))
    })?;

    let what = "authenticated 10 KiB download, 64 connections";
    let ours = rates.of(Kind::Tintype);
    report.compare(what, Unit::Rate, Target::AtLeast(1.0), ours, rates.beside(Kind::Nginx));
    report.compare(what, Unit::Rate, Target::AtLeast(80.0), ours, rates.beside(Kind::Synapse));
    for (server, _) in &servers {
        let spent = super::median(cpu.iter().filter(|(kind, _)| *kind == server.kind).map(|(_, spent)| *spent));
        report.note(format!(
            "{} spends {:.0} µs of CPU time on a 10 KiB download.",
            server.kind.name(),
            spent.unwrap_or_default()
        ));
    }
    Ok(())
}

pub(super) fn large(bench: &Bench, report: &mut Report) -> Result<()> {
    for (length, target) in [(MIB, 1.2), (100 * MIB, 0.9)] {
        let servers = stored_on(bench, length)?;
        for (server, stored) in &servers {
            load::download(server, stored, CONNECTIONS, Duration::from_secs(1))?;
        }
        let rates = bench.medians(&servers, |(server, stored)| {
            let measured = load::download(server, stored, CONNECTIONS, bench.window)?;
            Ok((server.kind, measured.bytes_per_second))
        })?;

        let what = format!("{} MiB download, {CONNECTIONS} connections", length / MIB);
        let ours = rates.of(Kind::Tintype);
        report.compare(&what, Unit::Bandwidth, Target::AtLeast(target), ours, rates.beside(Kind::Nginx));
        report.compare(&what, Unit::Bandwidth, Target::Reference, ours, rates.beside(Kind::Synapse));
    }
    Ok(())
}

fn stored_on(bench: &Bench, length: u64) -> Result<Vec<(Server, Stored)>> {
    let bytes = noise(usize::try_from(length)?);
    let servers = bench.start(&ALL)?;
    servers
        .into_iter()
        .map(|server| {
            let stored = server.store(&bytes, "application/octet-stream")?;
            Ok((server, stored))
        })
        .collect()
}
