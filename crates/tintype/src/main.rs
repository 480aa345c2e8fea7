//! The `tintype` command.

use std::process::ExitCode;

use clap::Parser as _;
use tintype::commands::Arguments;

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tintype: {error:#}");
            ExitCode::FAILURE
        }
    }
}
