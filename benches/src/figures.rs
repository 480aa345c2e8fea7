//! The figures, in the order of the table, and what they share: which servers run, and medians.

mod cold_cache;
mod downloads;
mod first_byte;
mod growing;
mod idle;
mod memory;
mod passing_on;
mod remote;
mod scaling;
mod thumbnails;
mod uploads;
mod waiting;

use std::time::Duration;

use anyhow::Result;

use crate::report::Report;
use crate::server::{Kind, Programs, Server};

/// What to run, and how long.
pub struct Bench {
    /// Where the programs are.
    pub programs: Programs,
    /// Which servers take part.
    pub servers: Vec<Kind>,
    /// How many runs a median is taken of.
    pub runs: usize,
    /// How long one run of load lasts.
    pub window: Duration,
}

/// One figure, or a few that are measured on the same servers.
pub struct Figure {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Measures it and adds its rows.
    pub measure: fn(&Bench, &mut Report) -> Result<()>,
}

/// All figures.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "small-downloads",
        about: "authenticated 10 KiB downloads, 64 connections",
        measure: downloads::small,
    },
    Figure { name: "large-downloads", about: "1 MiB and 100 MiB downloads, 16 connections", measure: downloads::large },
    Figure {
        name: "cold-cache",
        about: "10 KiB downloads while a large file is read from the disk",
        measure: cold_cache::measure,
    },
    Figure { name: "small-uploads", about: "durable 10 KiB uploads, 16 connections", measure: uploads::small },
    Figure { name: "large-uploads", about: "durable 1 MiB and 100 MiB uploads", measure: uploads::large },
    Figure { name: "upload-memory", about: "memory of 100 MiB uploads, one and 64 at once", measure: memory::uploads },
    Figure { name: "download-memory", about: "memory of 64 downloads of 100 MiB at once", measure: memory::downloads },
    Figure {
        name: "first-byte",
        about: "from the sender's first byte to the reader's, while the upload goes on",
        measure: first_byte::measure,
    },
    Figure { name: "waiting", about: "10,000 downloads that wait for an upload", measure: waiting::measure },
    Figure { name: "growing", about: "100 readers of one file while it is uploaded", measure: growing::measure },
    Figure {
        name: "remote-first-byte",
        about: "first byte of a remote file of 100 MiB behind a link of 20 ms and 50 Mbit/s",
        measure: remote::first_byte,
    },
    Figure {
        name: "remote-crowd",
        about: "64 downloads at once of one remote file that nobody has asked for before",
        measure: remote::crowd,
    },
    Figure {
        name: "thumbnails",
        about: "CPU time and memory of 12-megapixel thumbnails",
        measure: thumbnails::measure,
    },
    Figure {
        name: "passing-on",
        about: "what a request costs more that is passed on to a homeserver",
        measure: passing_on::measure,
    },
    Figure {
        name: "scaling",
        about: "what a request costs with one, two and three nodes on PostgreSQL and SeaweedFS",
        measure: scaling::measure,
    },
    Figure { name: "idle", about: "idle memory and time to the first answer", measure: idle::measure },
];

const MIB: u64 = 1024 * 1024;

impl Bench {
    /// Starts those of these servers that take part, each with a folder of its own.
    fn start(&self, kinds: &[Kind]) -> Result<Vec<Server>> {
        let wanted = kinds.iter().filter(|kind| self.servers.contains(kind));
        wanted.map(|kind| Server::start(*kind, &self.programs)).collect()
    }

    /// The median of each server's runs. The servers take turns, so that a slow minute of the machine hits them alike,
    /// and nobody pays for writing what another left in the page cache.
    fn medians<T>(&self, servers: &[T], mut measure: impl FnMut(&T) -> Result<(Kind, f64)>) -> Result<Medians> {
        let mut all: Vec<(Kind, f64)> = Vec::new();
        for _ in 0..self.runs {
            for server in servers {
                rustix::fs::sync();
                all.push(measure(server)?);
            }
        }
        Ok(Medians(all))
    }
}

/// The runs of several servers.
struct Medians(Vec<(Kind, f64)>);

impl Medians {
    fn of(&self, kind: Kind) -> Option<f64> {
        median(self.0.iter().filter(|(of, _)| *of == kind).map(|(_, quantity)| *quantity))
    }

    fn beside(&self, kind: Kind) -> (&'static str, Option<f64>) {
        (kind.name(), self.of(kind))
    }
}

fn median(quantities: impl Iterator<Item = f64>) -> Option<f64> {
    let mut quantities: Vec<f64> = quantities.collect();
    quantities.sort_by(f64::total_cmp);
    quantities.get(quantities.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_one_servers_runs() {
        let medians = Medians(vec![
            (Kind::Nginx, 9.0),
            (Kind::Tintype, 3.0),
            (Kind::Tintype, 1.0),
            (Kind::Nginx, 8.0),
            (Kind::Tintype, 2.0),
        ]);

        assert_eq!(medians.of(Kind::Tintype), Some(2.0));
        assert_eq!(medians.of(Kind::Synapse), None);
    }
}
