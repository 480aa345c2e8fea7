//! What only a store in a folder does.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{fs, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use tintype_domain::OsRandomness;
use tintype_storage::blobs::{BlobFile, BlobsError, Files, Location};

const MIB: usize = 1024 * 1024;

fn folder() -> (TempDir, Files) {
    let folder = TempDir::new().unwrap();
    let files = Files::open(folder.path(), Arc::new(OsRandomness)).unwrap();
    (folder, files)
}

/// Bytes that differ everywhere, so that a block at the wrong place is noticed.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

async fn store(files: &Files, bytes: &[u8]) -> Location {
    let mut incoming = files.receive().await.unwrap();
    incoming.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    files.publish(incoming.finish().await.unwrap()).await.unwrap()
}

async fn read(file: &BlobFile, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobsError> {
    Ok(file.stream(range).try_collect::<Vec<_>>().await?.concat())
}

#[tokio::test]
async fn a_blob_that_is_not_cached_is_read_from_the_disk() {
    let (folder, files) = folder();
    let bytes = pattern(2 * MIB);
    let location = store(&files, &bytes).await;
    let name = location.as_str();
    let path = folder.path().join(&name[..2]).join(&name[2..4]).join(name);
    let on_disk = fs::File::open(path).unwrap();
    rustix::fs::fadvise(&on_disk, 0, None, rustix::fs::Advice::DontNeed).unwrap();

    let file = files.read(&location).await.unwrap();

    assert!(read(&file, 0..bytes.len() as u64).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_file_that_lost_its_end_ends_in_an_error_and_not_early() {
    let (folder, files) = folder();
    let bytes = pattern(MIB);
    let location = store(&files, &bytes).await;
    let name = location.as_str();
    let path = folder.path().join(&name[..2]).join(&name[2..4]).join(name);
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1_000).unwrap();

    let file = files.read(&location).await.unwrap();

    assert!(matches!(read(&file, 0..MIB as u64).await, Err(BlobsError::Truncated(_))));
}

#[tokio::test]
async fn a_folder_is_served_by_one_process() {
    let (folder, files) = folder();

    assert!(matches!(Files::open(folder.path(), Arc::new(OsRandomness)), Err(BlobsError::InUse(_))));
    assert!(Files::open_shared(folder.path(), Arc::new(OsRandomness)).is_ok());
    drop(files);
    assert!(Files::open(folder.path(), Arc::new(OsRandomness)).is_ok());
}
