//! The workspace's own commands: `cargo xtask test | bench | fuzz | ci | conformance`.

mod bench;
mod conformance;
mod fuzz;
mod test;
mod tools;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks and tests everything, installing what that needs.
    Test,
    /// Measures Tintype beside nginx, Synapse and libvips and prints a table.
    Bench(bench::Options),
    /// Feeds what reads other servers' bytes with made-up ones, for a minute each.
    Fuzz,
    /// Checks any Matrix server against a proposal: `conformance msc4425 --help`.
    #[command(disable_help_flag = true)]
    Conformance {
        /// What the program is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// What is run for every change: both of `test` and `fuzz`.
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Task::Test => test::run(),
        Task::Fuzz => fuzz::run(),
        Task::Ci => ci(),
        Task::Conformance { arguments } => conformance::run(&arguments),
        Task::Bench(options) => bench::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Both, whatever comes of the first.
fn ci() -> Result<bool> {
    let tested = test::run()?;
    Ok(fuzz::run()? && tested)
}
