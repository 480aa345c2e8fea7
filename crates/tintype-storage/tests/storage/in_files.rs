//! A store in a folder.

use std::sync::Arc;

use tempfile::TempDir;
use tintype_domain::OsRandomness;
use tintype_storage::blobs::{Blobs, Files};

/// A store, and the folder that blobs arrive in.
pub fn folder() -> (TempDir, Blobs) {
    let folder = TempDir::new().expect("a folder");
    let files = Files::open(folder.path(), Arc::new(OsRandomness)).expect("a store");
    (folder, files.into())
}
