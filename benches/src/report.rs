//! The table: one row for each figure beside each peer, judged against its target.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::figures::Bench;
use crate::load::float;
use crate::server::Kind;

/// What a figure has to reach beside a peer.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At least so many times the peer's.
    AtLeast(f64),
    /// At most so many times the peer's.
    AtMost(f64),
    /// None: the peer is shown for reference.
    Reference,
}

/// How a quantity is written.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Per second.
    Rate,
    /// Bytes per second.
    Bandwidth,
    /// Bytes of memory.
    Memory,
    /// Seconds.
    Time,
    /// Seconds, very few.
    ShortTime,
    /// How many.
    Count,
}

/// The rows and notes so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<String>,
    notes: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    /// Adds a row that compares Tintype's quantity with a peer's.
    pub fn compare(&mut self, what: &str, unit: Unit, target: Target, ours: Option<f64>, peer: (&str, Option<f64>)) {
        let (name, theirs) = peer;
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let (target, met) = match target {
            Target::AtLeast(bound) => (format!("≥ {bound} × {name}"), ratio.map(|ratio| ratio >= bound)),
            Target::AtMost(bound) => (format!("≤ {bound} × {name}"), ratio.map(|ratio| ratio <= bound)),
            Target::Reference => (format!("none, beside {name}"), None),
        };
        let beside = format!("{name} {}", written(theirs, unit));
        let ratio = ratio.map_or_else(|| "–".to_owned(), times);
        self.row([what, &target, &written(ours, unit), &beside, &ratio], met);
    }

    /// Adds a row that holds Tintype's quantity against a fixed bound.
    pub fn bound(&mut self, what: &str, unit: Unit, bound: f64, ours: Option<f64>, peer: (&str, Option<f64>)) {
        let beside = match peer {
            (_, None) => "–".to_owned(),
            (name, theirs) => format!("{name} {}", written(theirs, unit)),
        };
        let ratio = ours.map_or_else(|| "–".to_owned(), |ours| format!("{:.2} × target", ours / bound));
        let target = format!("≤ {}", written(Some(bound), unit));
        self.row([what, &target, &written(ours, unit), &beside, &ratio], ours.map(|ours| ours <= bound));
    }

    /// Adds a row for something that is counted for each request, and may be nothing: at most so many, if there is a bound.
    /// Counts are means, so they count as met up to a twentieth more.
    pub fn at_most(&mut self, what: &str, ours: Option<f64>, bound: Option<f64>) {
        let target = bound.map_or_else(|| "none".to_owned(), |bound| format!("≤ {bound}"));
        let met = ours.zip(bound).map(|(ours, bound)| ours <= bound + 0.05);
        let ours = ours.map_or_else(|| "–".to_owned(), |ours| format!("{ours:.2}"));
        self.row([what, &target, &ours, "–", "–"], met);
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, sentence: String) {
        eprintln!("  {sentence}");
        self.notes.push(sentence);
    }

    /// Records that a figure could not be measured.
    pub fn failure(&mut self, figure: &str, why: &str) {
        self.failures.push(format!("**{figure}** could not be measured: {}", why.replace('\n', " ")));
    }

    /// Whether any figure could not be measured.
    pub fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    fn row(&mut self, cells: [&str; 5], met: Option<bool>) {
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "–",
        };
        let row = format!("| {} | {verdict} |", cells.join(" | "));
        eprintln!("  {row}");
        self.rows.push(row);
    }

    /// The machine, the table and the notes as Markdown.
    ///
    /// # Errors
    /// When the machine cannot be described.
    pub fn markdown(&self, bench: &Bench) -> Result<String> {
        let mut text = machine(bench)?;
        text.push_str("\n| what | target | Tintype | beside | ratio | |\n| --- | --- | ---: | ---: | ---: | --- |\n");
        for row in &self.rows {
            writeln!(text, "{row}")?;
        }
        text.push('\n');
        for note in self.failures.iter().chain(&self.notes) {
            writeln!(text, "* {note}")?;
        }
        Ok(text)
    }
}

fn machine(bench: &Bench) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let cpu =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |found| found.1);
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory: u64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let programs = &bench.programs;
    let mut text = format!(
        "{cpu}, {cores} cores shared by the servers and the load, {} GiB of memory, Linux {}. Medians of {}.\n",
        memory / 1024 / 1024,
        kernel.trim(),
        bench.runs,
    );
    for (kind, program, arguments) in [
        (Kind::Tintype, &programs.tintype, ["--version"].as_slice()),
        (Kind::Nginx, &programs.nginx, &["-v"]),
        (
            Kind::Synapse,
            &programs.synapse_python,
            &["-c", "from importlib.metadata import version; print('Synapse', version('matrix-synapse'), 'on SQLite')"],
        ),
    ] {
        if bench.servers.contains(&kind) {
            writeln!(text, "{}.", version(program, arguments))?;
        }
    }
    Ok(text)
}

/// What a program says about itself, on whichever output.
fn version(program: &Path, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) => String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned(),
        Err(error) => format!("{}: {error}", program.display()),
    }
}

fn written(quantity: Option<f64>, unit: Unit) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let Some(quantity) = quantity else { return "–".to_owned() };
    match unit {
        Unit::Rate => format!("{} /s", thousands(quantity)),
        Unit::Bandwidth if quantity < 1e8 => format!("{:.1} MB/s", quantity / 1e6),
        Unit::Bandwidth => format!("{:.2} GB/s", quantity / 1e9),
        Unit::Count => thousands(quantity),
        Unit::Memory if quantity >= 10.0 * MIB => format!("{:.0} MiB", quantity / MIB),
        Unit::Memory => format!("{:.1} MiB", quantity / MIB),
        Unit::ShortTime => format!("{:.0} µs", quantity * 1e6),
        Unit::Time if quantity >= 1.0 => format!("{quantity:.2} s"),
        Unit::Time if quantity >= 0.01 => format!("{:.0} ms", quantity * 1e3),
        Unit::Time => format!("{:.2} ms", quantity * 1e3),
    }
}

/// A ratio, with as many digits as it takes to tell it from nothing.
fn times(ratio: f64) -> String {
    if ratio < 0.01 { format!("{ratio:.4} ×") } else { format!("{ratio:.2} ×") }
}

fn thousands(quantity: f64) -> String {
    let digits = format!("{quantity:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as a quantity.
pub fn mebibytes(count: u64) -> f64 {
    float(count * 1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_below_its_target_is_missed() {
        let mut report = Report::default();

        report.compare("reads", Unit::Rate, Target::AtLeast(1.0), Some(900.0), ("nginx", Some(1000.0)));

        assert_eq!(report.rows, ["| reads | ≥ 1 × nginx | 900 /s | nginx 1,000 /s | 0.90 × | **missed** |"]);
    }

    #[test]
    fn what_is_a_thousand_times_smaller_is_not_written_as_nothing() {
        let mut report = Report::default();

        report.compare("begins", Unit::Time, Target::Reference, Some(0.001), ("Synapse", Some(1.31)));

        assert_eq!(report.rows, ["| begins | none, beside Synapse | 1.00 ms | Synapse 1.31 s | 0.0008 × | – |"]);
    }

    #[test]
    fn a_row_without_a_peer_is_not_judged() {
        let mut report = Report::default();

        report.compare("reads", Unit::Rate, Target::AtMost(1.0), Some(82_700.4), ("nginx", None));

        assert_eq!(report.rows, ["| reads | ≤ 1 × nginx | 82,700 /s | nginx – | – | – |"]);
    }

    #[test]
    fn memory_within_its_bound_is_met() {
        let mut report = Report::default();

        report.bound("idle", Unit::Memory, mebibytes(30), Some(mebibytes(15)), ("Synapse", None));

        assert_eq!(report.rows, ["| idle | ≤ 30 MiB | 15 MiB | – | 0.50 × target | met |"]);
    }
}
