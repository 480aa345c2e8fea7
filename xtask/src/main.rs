//! The workspace's own commands: `cargo xtask test | bench | ci`.

mod bench;
mod test;
mod tools;

use std::process::ExitCode;

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
        Task::Test | Task::Ci => test::run(),
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
