//! How long a first byte takes from its sender to a reader who waits for it, while the upload goes on.
//!
//! The sender announces a length, sends the head of its request with 1 KiB, and then nothing for a while: whatever a
//! server gathers before it lets anybody read shows here. How much was announced must not matter.

use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use anyhow::Result;

use super::{Bench, MIB, Medians};
use crate::asynchronous::{Sender, until_waiting};
use crate::connection::Connection;
use crate::report::{Report, Target, Unit};
use crate::server::{Kind, Reserved, Server};

const ANNOUNCED: [(u64, &str); 3] = [(10 * 1024, "10 KiB"), (MIB, "1 MiB"), (100 * MIB, "100 MiB")];
const FIRST: usize = 1024;
const TIMES: usize = 200;
const BOUND: f64 = 0.010;

const PACED_LENGTH: u64 = 10 * MIB;
const PACE: u64 = 10 * MIB;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    for server in bench.start(&[Kind::Tintype])? {
        for (length, name) in ANNOUNCED {
            // The first ones also fill caches: of tokens, of connections to the database.
            for _ in 0..5 {
                first_bytes(&server, length)?;
            }
            let mut measured = Vec::new();
            for _ in 0..TIMES * bench.runs {
                measured.push(first_bytes(&server, length)?);
            }
            let (first, later): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
            let what = format!("first byte of an upload of {name}, 99th percentile");
            report.bound(&what, Unit::Time, BOUND, Some(percentile(&first, 99)), ("", None));
            report.note(format!(
                "{name}: from the sender's first byte to the reader's {:.2} ms in the median, {:.2} ms at the 99th \
                 percentile; from a later byte {:.2} and {:.2} ms.",
                percentile(&first, 50) * 1e3,
                percentile(&first, 99) * 1e3,
                percentile(&later, 50) * 1e3,
                percentile(&later, 99) * 1e3,
            ));
        }
    }

    let mut paced = Medians(Vec::new());
    let servers = bench.start(&[Kind::Tintype, Kind::Synapse])?;
    for _ in 0..bench.runs {
        for server in &servers {
            paced.0.push((server.kind, first_byte_of_a_paced_upload(server)?));
        }
    }
    let what = "first byte of 10 MiB sent in one second";
    let ours = paced.of(Kind::Tintype);
    report.compare(what, Unit::Time, Target::Reference, ours, paced.beside(Kind::Synapse));
    Ok(())
}

/// Seconds from the sender's first byte to the reader's, and from a byte sent after that to its arrival.
fn first_bytes(server: &Server, length: u64) -> Result<(f64, f64)> {
    let reserved = server.reserve()?;
    let mut sender = Sender::to(server, &reserved, length)?;
    read_meanwhile(server, &reserved, &[FIRST, FIRST], |arrivals| {
        let mut send = || -> Result<f64> {
            let sent = Instant::now();
            sender.send(FIRST)?;
            Ok((arrivals.recv()? - sent).as_secs_f64())
        };
        Ok((send()?, send()?))
    })
    // The sender breaks off, and with it whatever the server has begun to keep.
}

/// Seconds from the sender's first byte to the reader's, of an upload that is sent whole and steadily.
fn first_byte_of_a_paced_upload(server: &Server) -> Result<f64> {
    let reserved = server.reserve()?;
    let mut sender = Sender::to(server, &reserved, PACED_LENGTH)?;
    read_meanwhile(server, &reserved, &[usize::try_from(PACED_LENGTH)?], |arrivals| {
        let sent = Instant::now();
        sender.send_paced(PACE, |_| Ok(()))?;
        sender.acknowledged()?;
        Ok((arrivals.recv()? - sent).as_secs_f64())
    })
}

/// Begins a download that waits, then does something while it is read; reports when the first byte of each of these
/// pieces was there.
fn read_meanwhile<T>(
    server: &Server,
    reserved: &Reserved,
    pieces: &[usize],
    meanwhile: impl FnOnce(&Receiver<Instant>) -> Result<T>,
) -> Result<T> {
    let mut reader = Connection::open(server.address)?;
    reader.send(&server.get(&reserved.path, ""))?;
    let (arrived, arrivals) = mpsc::channel();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || -> Result<()> {
            reader.expect_status(200)?;
            for piece in pieces {
                let mut left = *piece as u64 - reader.discard_some(1)?;
                arrived.send(Instant::now())?;
                while left > 0 {
                    left -= reader.discard_some(left)?;
                }
            }
            Ok(())
        });
        let result = until_waiting(server, 1).and_then(|()| meanwhile(&arrivals));
        // Why the reader failed says more than that nothing came from it.
        reading.join().expect("the reader does not panic")?;
        result
    })
}

/// Of measurements in seconds.
fn percentile(measured: &[f64], percent: usize) -> f64 {
    let mut sorted = measured.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
