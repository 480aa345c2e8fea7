//! `cargo xtask bench`: builds the server and the benchmarks as they are released, installs the peers, and runs.
//!
//! What is measured and how is in the crate `benches`; this only puts the parts together.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::tools;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// One short run of each figure instead of the median of three longer ones.
    #[arg(long)]
    quick: bool,
    /// Only this figure (may be given several times); an unknown name lists all.
    #[arg(long)]
    only: Vec<String>,
    /// Which servers to start; rows that need another one are left unjudged.
    #[arg(long, value_name = "NAMES", default_value = "tintype,nginx,synapse")]
    servers: String,
}

/// Prints the table of figures on stdout, in Markdown.
///
/// # Errors
/// When something cannot be built, installed or measured.
pub fn run(options: &Options) -> Result<()> {
    let built = build()?;
    let mut command = Command::new(built.join("bench"));
    command
        .arg("--tintype")
        .arg(built.join("tintype"))
        .arg("--synapse-python")
        .arg(tools::synapse()?)
        .arg("--nginx")
        .arg(tools::nginx()?)
        .arg("--wrk")
        .arg(tools::wrk()?)
        .arg("--vipsthumbnail")
        .arg(tools::vipsthumbnail()?)
        .arg("--work")
        .arg(built.join("../bench"))
        .args(["--servers", &options.servers]);
    if options.quick {
        command.arg("--quick");
    }
    for name in &options.only {
        command.args(["--only", name]);
    }
    let status = command.status().context("starting the benchmarks")?;
    ensure!(status.success(), "not every figure could be measured");
    Ok(())
}

/// Builds both programs and returns the folder that they are in.
fn build() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace)
        .args(["build", "--release", "--package", "tintype", "--package", "benches", "--bins"])
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the release build failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |folder| workspace.join(folder));
    Ok(target.join("release"))
}
