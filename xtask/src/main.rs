//! The workspace's own commands: `cargo xtask test | bench | ci`.

mod bench;
mod tools;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
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
    /// What is run for every change.
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Task::Test | Task::Ci => test(),
        Task::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<()> {
    tools::for_e2e()?;
    for arguments in [
        ["fmt", "--all", "--check"].as_slice(),
        &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"],
        &["test", "--workspace"],
    ] {
        let status = Command::new("cargo").args(arguments).status().context("starting cargo")?;
        ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}
