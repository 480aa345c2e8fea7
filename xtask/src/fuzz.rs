//! The fuzz targets that are run for every change: those that read what other servers send.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tools;

/// What reads the answers and requests of other servers.
const TARGETS: [&str; 3] = ["mixed", "xmatrix", "server_keys"];

/// Runs each target for a minute, from its seeds and from what it found before. Returns whether none found anything.
pub fn run() -> Result<bool> {
    let cargo_fuzz = tools::cargo_fuzz()?;
    let mut failed = 0;
    for target in TARGETS {
        println!("--- fuzzing {target}");
        let corpus = tools::workspace().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        let status = Command::new(&cargo_fuzz)
            .current_dir(tools::workspace())
            // The sanitizer's flags are for nightly toolchains; this lets a stable one take them.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", target])
            .arg(corpus)
            .arg(tools::workspace().join("fuzz/seeds").join(target))
            .args(["--", "-max_total_time=60", "-timeout=10", "-verbosity=0", "-print_funcs=0", "-print_final_stats=1"])
            .status()
            .with_context(|| format!("fuzzing {target}"))?;
        if !status.success() {
            println!("--- fuzzing {target}: FAILED");
            failed += 1;
        }
    }
    println!("{} fuzz targets passed, {failed} failed", TARGETS.len() - failed);
    Ok(failed == 0)
}
