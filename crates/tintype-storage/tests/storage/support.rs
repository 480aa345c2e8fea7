//! A database of a test's own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tintype_storage::records::Records;

/// Records in a folder of their own, which has to live as long as they do.
pub(crate) async fn records() -> (Records, TempDir) {
    let folder = TempDir::new().expect("there is room for a folder");
    (reopened(folder.path()).await, folder)
}

/// The records in a folder, opened once more.
pub(crate) async fn reopened(folder: &Path) -> Records {
    Records::open_sqlite(&database(folder)).await.expect("the database opens")
}

/// The database's file.
pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("records.db")
}
