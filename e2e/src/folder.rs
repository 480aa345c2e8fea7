//! Folders for the files and logs of what a test starts, under `target/e2e/`.
//!
//! A folder goes when its test is done, and stays when the test failed. Those of a process that was killed are
//! removed by the next one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::tools::workspace;

const FAILED: &str = "FAILED";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A folder of one test.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder with `name` in its name.
    pub fn new(name: &str) -> Self {
        let all = workspace().join("target/e2e");
        SWEEP.call_once(|| remove_abandoned(&all));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = all.join(format!("{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder under target/ can be made");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lets it stay, as after a failure.
    pub fn keep(&self) {
        let _ = fs::write(self.0.join(FAILED), "");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
        }
        if self.0.join(FAILED).exists() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn remove_abandoned(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.split('-').next());
        let is_running = process.is_some_and(|id| Path::new("/proc").join(id).exists());
        if !is_running && !entry.path().join(FAILED).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
