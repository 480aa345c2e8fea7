//! The command line of the benchmarks; `cargo xtask bench` builds and installs what it needs and calls it.
//!
//! The table goes to stdout, ready for BENCHMARKS.md; progress goes to stderr.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use benches::figures::{Bench, FIGURES};
use benches::report::Report;
use benches::server::{Kind, Programs};
use clap::Parser;

/// Loads Tintype and its peers and prints a Markdown table of figures, ratios and targets.
#[derive(Parser)]
struct Options {
    /// One short run of each figure instead of the median of three longer ones.
    #[arg(long)]
    quick: bool,
    /// Only this figure (may be given several times).
    #[arg(long, value_parser = names())]
    only: Vec<String>,
    /// Which servers to start; rows that need another one are left unjudged.
    #[arg(long, value_delimiter = ',', default_value = "tintype,nginx,synapse")]
    servers: Vec<Kind>,
    /// The release build of Tintype.
    #[arg(long)]
    tintype: PathBuf,
    /// The Python interpreter that has Synapse installed.
    #[arg(long)]
    synapse_python: PathBuf,
    /// nginx.
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// wrk.
    #[arg(long, default_value = "wrk")]
    wrk: PathBuf,
    /// vipsthumbnail, of libvips.
    #[arg(long, default_value = "vipsthumbnail")]
    vipsthumbnail: PathBuf,
    /// Where servers keep their data while they are measured; must be a real disk with 30 GiB free.
    #[arg(long)]
    work: PathBuf,
}

fn names() -> clap::builder::PossibleValuesParser {
    FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>().into()
}

fn main() -> ExitCode {
    match run() {
        Ok(outcome) => outcome,
        // Not `Debug`, which would add a backtrace that helps nobody who only wants figures.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.work).with_context(|| options.work.display().to_string())?;
    let bench = Bench {
        programs: Programs {
            tintype: options.tintype,
            synapse_python: options.synapse_python,
            nginx: options.nginx,
            wrk: options.wrk,
            vipsthumbnail: options.vipsthumbnail,
            work: std::fs::canonicalize(&options.work)?,
        },
        servers: options.servers,
        runs: if options.quick { 1 } else { 3 },
        window: Duration::from_secs(if options.quick { 2 } else { 5 }),
    };

    let mut report = Report::default();
    for figure in FIGURES {
        if options.only.is_empty() || options.only.iter().any(|name| name == figure.name) {
            eprintln!("{}: {}", figure.name, figure.about);
            if let Err(error) = (figure.measure)(&bench, &mut report) {
                eprintln!("{}: {error:#}", figure.name);
                report.failure(figure.name, &format!("{error:#}"));
            }
        }
    }

    let mut out = std::io::stdout().lock();
    write!(out, "{}", report.markdown(&bench)?)?;
    Ok(if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
