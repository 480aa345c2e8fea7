//! Thumbnails of 12-megapixel pictures to 320 × 240, each of a file that the server has never seen: the CPU time of
//! one after the other, and the memory of sixteen at once. libvips shows what is possible.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, Medians};
use crate::connection::Connection;
use crate::load::{self, float};
use crate::pictures::{Picture, Pixels};
use crate::process::cpu_of_ended_children;
use crate::report::{Report, Target, Unit, mebibytes};
use crate::server::{Kind, Server, Stored};

const BOTH: [Kind; 2] = [Kind::Tintype, Kind::Synapse];
/// CPU time is counted in hundredths of a second, so one picture alone would be too coarse.
const PICTURES: u32 = 6;
const AT_ONCE: u32 = 16;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let pixels = Pixels::twelve_million();
    for (picture, target) in [(Picture::jpeg(&pixels)?, 0.5), (Picture::png(&pixels)?, 0.4)] {
        let name = picture.format;
        report.note(format!("The {name} has {:.1} MB.", float(picture.length() as u64) / 1e6));

        let servers = bench.start(&BOTH)?;
        let mut serial = 0;
        for server in &servers {
            cpu_time(server, &picture, &mut serial)?;
        }
        let times = bench.medians(&servers, |server| Ok((server.kind, cpu_time(server, &picture, &mut serial)?)))?;
        drop(servers);
        let ours = times.of(Kind::Tintype);
        let what = format!("thumbnail of a 12-megapixel {name}, CPU time");
        report.compare(&what, Unit::Time, Target::AtMost(target), ours, times.beside(Kind::Synapse));
        let vips = (0..bench.runs).map(|_| libvips(bench, &picture)).collect::<Result<Vec<_>>>()?;
        report.compare(&what, Unit::Time, Target::Reference, ours, ("libvips", super::median(vips.into_iter())));

        let mut grown = Medians(Vec::new());
        for kind in BOTH {
            for server in bench.start(&[kind])? {
                grown.0.push((kind, float(growth_at_once(&server, &picture)?)));
            }
        }
        let what = format!("memory growth, 16 such {name} thumbnails at once");
        report.bound(&what, Unit::Memory, mebibytes(300), grown.of(Kind::Tintype), grown.beside(Kind::Synapse));
    }
    Ok(())
}

/// Seconds of the server's CPU time for one thumbnail, on average over a few.
fn cpu_time(server: &Server, picture: &Picture, serial: &mut u64) -> Result<f64> {
    let mut stored = Vec::new();
    for _ in 0..PICTURES {
        *serial += 1;
        stored.push(server.store(&picture.stamped(*serial), picture.content_type)?);
    }
    let before = server.process().usage()?.cpu;
    for stored in &stored {
        request(server, stored)?;
    }
    Ok(server.process().usage()?.cpu.saturating_sub(before).as_secs_f64() / f64::from(PICTURES))
}

fn growth_at_once(server: &Server, picture: &Picture) -> Result<u64> {
    let stored = (0..u64::from(AT_ONCE))
        .map(|serial| server.store(&picture.stamped(serial), picture.content_type))
        .collect::<Result<Vec<_>>>()?;
    let (growth, _) =
        server.process().growth_during(|| load::on_threads(stored.len(), |index| request(server, &stored[index])))?;
    Ok(growth)
}

fn request(server: &Server, stored: &Stored) -> Result<()> {
    let mut connection = Connection::open(server.address)?;
    connection.send(&server.get(&format!("{}?width=320&height=240&method=scale", stored.thumbnail_path), ""))?;
    let head = connection.expect_status(200)?;
    let body = connection.body(head)?;
    ensure!(
        (1..stored.length / 4).contains(&(body.len() as u64)),
        "{}: a thumbnail of {} bytes",
        server.kind.name(),
        body.len()
    );
    Ok(())
}

/// Seconds of libvips' CPU time for one thumbnail: what several cost more than one, so that the start of the program
/// does not count.
fn libvips(bench: &Bench, picture: &Picture) -> Result<f64> {
    let folder = tempfile::tempdir_in(&bench.programs.work)?;
    let names: Vec<String> = (0..=PICTURES).map(|serial| format!("{serial}.{}", picture.extension)).collect();
    for (serial, name) in (0..).zip(&names) {
        fs::write(folder.path().join(name), picture.stamped(serial))?;
    }
    let all = vipsthumbnail(bench, folder.path(), picture, &names)?;
    let one = vipsthumbnail(bench, folder.path(), picture, &names[..1])?;
    Ok((all - one) / f64::from(PICTURES))
}

fn vipsthumbnail(bench: &Bench, folder: &Path, picture: &Picture, names: &[String]) -> Result<f64> {
    let before = cpu_of_ended_children()?;
    let output = Command::new(&bench.programs.vipsthumbnail)
        .current_dir(folder)
        .args(["--size", "320x240", "--output", &format!("small_%s.{}", picture.extension)])
        .args(names)
        .output()
        .context("starting vipsthumbnail")?;
    ensure!(output.status.success(), "vipsthumbnail: {}", String::from_utf8_lossy(&output.stderr));
    Ok(cpu_of_ended_children()?.saturating_sub(before).as_secs_f64())
}
