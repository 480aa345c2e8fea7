//! The `tintype` command.

use std::process::ExitCode;

use clap::Parser as _;
use tintype::commands::Arguments;

/// Chosen for the memory of many connections, and for giving memory back after a burst of transfers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tintype: {error:#}");
            ExitCode::FAILURE
        }
    }
}
