//! The blobs, in a real folder and in a real bucket.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{collections::HashSet, fs, path::Path};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tintype_domain::{ContentHash, OsRandomness};
use tintype_storage::blobs::{Blob, Blobs, BlobsError, Location, PartialName, Sweep};

use super::support::folder;

const MIB: usize = 1024 * 1024;

/// Bytes that differ everywhere, so that a block at the wrong place is noticed.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

async fn store(files: &Blobs, bytes: &[u8]) -> Location {
    let mut incoming = files.receive().await.unwrap();
    for chunk in bytes.chunks(70_001) {
        incoming.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let hashed = incoming.finish().await.unwrap();
    assert_eq!(hashed.size, bytes.len() as u64);
    files.publish(hashed).await.unwrap()
}

async fn read(file: &Blob, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobsError> {
    let mut stream = file.stream(range).await?;
    let mut bytes = Vec::new();
    while let Some(next) = stream.next().await {
        bytes.extend_from_slice(&next?);
    }
    Ok(bytes)
}

async fn is_there(files: &Blobs, location: &Location) -> bool {
    let opened = async { files.read(location).await?.stream(0..1).await };
    match opened.await {
        Ok(_) => true,
        Err(BlobsError::NotFound(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn a_blob_is_read_back_whole_and_in_part() {
    let (_folder, files) = folder();
    let bytes = pattern(3 * MIB + 17);

    let location = store(&files, &bytes).await;

    assert_eq!(location.content_hash(), ContentHash::of(&bytes));
    let file = files.read(&location).await.unwrap();
    assert!(read(&file, 0..bytes.len() as u64).await.unwrap() == bytes);
    assert!(read(&file, 1_000_000..1_300_000).await.unwrap() == bytes[1_000_000..1_300_000]);
    assert_eq!(read(&file, 5..5).await.unwrap(), b"");
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let (folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    incoming.write(Bytes::from(pattern(MIB))).await.unwrap();
    let finished = {
        let mut incoming = files.receive().await.unwrap();
        incoming.write(Bytes::from_static(b"abc")).await.unwrap();
        incoming.finish().await.unwrap()
    };
    assert_eq!(files_in(&folder.path().join("tmp")), 2);

    drop(finished);
    // The block that is being written must end before the file can go: finishing waits for it.
    drop(incoming.finish().await.unwrap());

    assert_eq!(files_in(&folder.path().join("tmp")), 0);
    assert_eq!(files_in(&folder.path().join("pending")), 0);
}

#[tokio::test]
async fn a_sweep_removes_what_has_no_record_and_nothing_else() {
    let (folder, files) = folder();
    let (recorded, confirmed, unrecorded) =
        (store(&files, b"recorded").await, store(&files, b"confirmed").await, store(&files, b"unrecorded").await);
    files.recorded(&confirmed).await;
    fs::write(folder.path().join("tmp/left"), b"stump").unwrap();

    let sweep = files.sweep(HashSet::new(), async |location| Ok::<_, BlobsError>(*location == recorded)).await.unwrap();

    assert_eq!(sweep, Sweep { temporary: 1, unrecorded: 1, partial: 0 });
    assert!(is_there(&files, &recorded).await);
    assert!(is_there(&files, &confirmed).await);
    assert!(!is_there(&files, &unrecorded).await);
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
    assert_eq!(files_in(&folder.path().join("pending")), 0);
}

#[tokio::test]
async fn the_same_bytes_get_two_locations_and_removing_one_leaves_the_other() {
    let (_folder, files) = folder();
    let (first, second) = (store(&files, b"same").await, store(&files, b"same").await);

    files.remove(&first).await.unwrap();
    files.remove(&first).await.unwrap();

    assert!(!is_there(&files, &first).await);
    let file = files.read(&second).await.unwrap();
    assert_eq!(read(&file, 0..4).await.unwrap(), b"same");
}

#[tokio::test]
async fn a_probe_leaves_nothing() {
    let (folder, files) = folder();

    files.probe().await.unwrap();

    assert_eq!(files_in(&folder.path().join("tmp")), 0);
}

async fn keep(files: &Blobs, bytes: &[u8]) -> PartialName {
    let name = PartialName::random(&OsRandomness);
    let mut incoming = files.receive_partial(&name).await.unwrap();
    incoming.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    assert_eq!(incoming.pause().await.unwrap(), bytes.len() as u64);
    name
}

#[tokio::test]
async fn a_partial_blob_is_gone_on_with_where_it_stopped() {
    let (folder, files) = folder();
    let bytes = pattern(MIB);
    let name = keep(&files, &bytes[..500_000]).await;

    let mut incoming = files.resume(&name, 500_000).await.unwrap();
    incoming.write(Bytes::copy_from_slice(&bytes[500_000..])).await.unwrap();
    let hashed = incoming.finish().await.unwrap();

    assert_eq!((hashed.size, hashed.sha256), (MIB as u64, ContentHash::of(&bytes)));
    let location = files.publish(hashed).await.unwrap();
    let file = files.read(&location).await.unwrap();
    files.remove_partial(&name).await.unwrap();
    assert!(read(&file, 0..MIB as u64).await.unwrap() == bytes);
    assert_eq!(files_in(&folder.path().join("partial")), 0);
}

#[tokio::test]
async fn what_was_written_after_the_last_record_is_cut_off() {
    let (_folder, files) = folder();
    let name = keep(&files, b"recorded, and more").await;

    let mut incoming = files.resume(&name, 8).await.unwrap();
    incoming.write(Bytes::from_static(b"!")).await.unwrap();

    assert_eq!(incoming.into_bytes().await.unwrap(), "recorded!");
}

#[tokio::test]
async fn a_partial_blob_that_is_shorter_than_recorded_is_refused_and_left() {
    let (folder, files) = folder();
    let name = keep(&files, b"short").await;

    assert!(files.resume(&name, 6).await.is_err());
    assert!(!files.cut_partial(&name, 6).await.unwrap());

    assert!(files.cut_partial(&name, 5).await.unwrap());
    assert_eq!(files_in(&folder.path().join("partial")), 1);
}

#[tokio::test]
async fn a_partial_blob_that_is_given_up_leaves_nothing() {
    let (folder, files) = folder();
    let name = keep(&files, b"bytes").await;

    drop(files.resume(&name, 5).await.unwrap());
    files.remove_partial(&name).await.unwrap();

    assert_eq!(files_in(&folder.path().join("partial")), 0);
    assert!(!files.cut_partial(&name, 0).await.unwrap());
}

#[tokio::test]
async fn a_sweep_leaves_the_partial_blobs_that_are_recorded() {
    let (_folder, files) = folder();
    let (known, unknown) = (keep(&files, b"known").await, keep(&files, b"unknown").await);

    let sweep = files.sweep(HashSet::from([known.clone()]), async |_| Ok::<_, BlobsError>(false)).await.unwrap();

    assert_eq!(sweep, Sweep { temporary: 0, unrecorded: 0, partial: 1 });
    assert!(files.cut_partial(&known, 5).await.unwrap());
    assert!(!files.cut_partial(&unknown, 0).await.unwrap());
}

#[test]
fn names_of_partial_blobs_are_read_back_and_no_others() {
    let name = PartialName::random(&OsRandomness);

    assert_eq!(PartialName::parse(name.as_str()), Some(name));
    for other in
        ["", "..", "../../lock", "0123456789abcdef0123456", "0123456789ABCDEF01234567", "0123456789abcdef0123456/"]
    {
        assert_eq!(PartialName::parse(other), None, "{other}");
    }
}
