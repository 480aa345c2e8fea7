//! What a server costs that nobody uses, and how soon it answers after a restart.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use crate::load::float;
use crate::report::{Report, Unit, mebibytes};
use crate::server::Kind;

/// Long enough for what a start leaves behind to be freed.
const SETTLING: Duration = Duration::from_secs(2);

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut starts = Vec::new();
    let mut memory = Vec::new();
    for kind in [Kind::Tintype, Kind::Synapse] {
        for mut server in bench.start(&[kind])? {
            report.note(format!(
                "{}'s very first start, with an empty folder, took {:.0} ms.",
                kind.name(),
                server.first_start.as_secs_f64() * 1e3
            ));
            for _ in 0..bench.runs {
                starts.push((kind, server.start_again()?.as_secs_f64()));
                std::thread::sleep(SETTLING);
                memory.push((kind, float(server.process().usage()?.resident)));
            }
        }
    }
    let (starts, memory) = (super::Medians(starts), super::Medians(memory));
    report.bound(
        "idle memory, resident",
        Unit::Memory,
        mebibytes(30),
        memory.of(Kind::Tintype),
        memory.beside(Kind::Synapse),
    );
    report.bound("start to first answer", Unit::Time, 0.150, starts.of(Kind::Tintype), starts.beside(Kind::Synapse));
    Ok(())
}
