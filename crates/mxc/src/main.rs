//! `mxc`: Matrix media from the command line.
//!
//! Standard output holds the result and nothing else, so that it can be put into a variable or a pipe; everything for
//! people goes to standard error. The exit code is 0 if it was done, 1 if it was refused or failed, 2 if the command
//! line is wrong, 3 if the server does not have ephemeral or restricted media.

mod arguments;
mod commands;
mod connection;
mod failure;
mod file_name;
mod input;
mod key_file;
mod output;
mod progress;
mod target;

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = arguments.output();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.failed(&error.into()),
    };
    let done = runtime.block_on(run(arguments));
    // Reading from a terminal or a pipe cannot be cancelled, and must not keep the program from ending.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.failed(&error),
    }
}

/// Runs the command until it is done or somebody ends it. In either case everything that is not whole is dropped here,
/// and its files with it.
async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        done = commands::run(arguments) => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
        _ = hang_up.recv() => bail!("the terminal is gone"),
    }
}
