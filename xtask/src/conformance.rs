//! `cargo xtask conformance`: builds and runs the program that checks other servers.

use std::{env, ffi::OsString, process::Command};

use anyhow::{Context as _, Result};

/// Runs it with these arguments. Returns whether nothing failed.
pub fn run(arguments: &[OsString]) -> Result<bool> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "tintype-conformance", "--"]).args(arguments);
    Ok(command.status().context("starting the program")?.success())
}
