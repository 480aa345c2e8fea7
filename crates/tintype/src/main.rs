//! The `tintype` command.

use std::process::ExitCode;

use clap::Parser as _;
use tintype::commands::Arguments;

/// Gives memory back after a burst of transfers, and spends less on many small allocations than the system's.
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
