//! A folder of blobs that several servers share.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;
use tintype_domain::{OsRandomness, Randomness};
use tintype_storage::blobs::{BlobsError, Files, Location, PartialName, SILENCE, Sweep};

fn randomness() -> Arc<dyn Randomness> {
    Arc::new(OsRandomness)
}

fn node(folder: &TempDir) -> Files {
    Files::open_among_others(folder.path(), &randomness()).unwrap()
}

async fn store(files: &Files, bytes: &'static [u8]) -> Location {
    let mut incoming = files.receive().await.unwrap();
    incoming.write(Bytes::from_static(bytes)).await.unwrap();
    files.publish(incoming.finish().await.unwrap()).await.unwrap()
}

/// Removes what was left, but for what is recorded.
async fn sweep(files: &Files, silent_for: Duration, recorded: &[&Location]) -> Sweep {
    let mut sum = Sweep::default();
    for left in files.left(silent_for).await.unwrap() {
        let unrecorded = left.marked().iter().filter(|location| !recorded.contains(location));
        let unrecorded: Vec<_> = unrecorded.cloned().collect();
        let swept = files.clear(left, &unrecorded).await.unwrap();
        sum.temporary += swept.temporary;
        sum.unrecorded += swept.unrecorded;
    }
    sum
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// As a process that is killed: what it has open is closed, and nothing is put in order.
fn kill(folder: &TempDir, leave: impl FnOnce(&Path)) {
    let place = folder.path().join("nodes/0123456789abcdef01234567");
    for name in ["tmp", "pending"] {
        fs::create_dir_all(place.join(name)).unwrap();
    }
    fs::write(place.join("lock"), b"").unwrap();
    leave(&place);
}

fn silent_since(place: &Path, silence: Duration) {
    let before = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let lock = fs::File::options().write(true).open(place.join("lock")).unwrap();
    let now = lock.metadata().unwrap().modified().unwrap();
    lock.set_modified(now.checked_sub(silence).unwrap_or(before)).unwrap();
}

#[tokio::test]
async fn a_node_that_starts_and_sweeps_takes_nothing_from_one_that_is_in_the_middle_of_an_upload() {
    let folder = TempDir::new().unwrap();
    let first = node(&folder);
    let mut arriving = first.receive().await.unwrap();
    arriving.write(Bytes::from_static(b"the beginning, ")).await.unwrap();
    let published = store(&first, b"not recorded yet").await;

    let second = node(&folder);
    assert_eq!(sweep(&second, Duration::ZERO, &[]).await, Sweep::default());

    arriving.write(Bytes::from_static(b"and the end")).await.unwrap();
    let arrived = first.publish(arriving.finish().await.unwrap()).await.unwrap();
    for location in [&arrived, &published] {
        first.recorded(location).await;
        second.read(location).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_node_left_that_was_killed_is_removed_once_it_was_silent_for_long() {
    let folder = TempDir::new().unwrap();
    let second = node(&folder);
    let (unrecorded, recorded) = (store(&second, b"unrecorded").await, store(&second, b"recorded").await);
    second.recorded(&unrecorded).await;
    second.recorded(&recorded).await;
    let mut killed = None;
    kill(&folder, |place| {
        fs::write(place.join("tmp/stump"), b"stump").unwrap();
        for location in [&unrecorded, &recorded] {
            fs::write(place.join("pending").join(location.as_str()), b"").unwrap();
        }
        killed = Some(place.to_owned());
    });
    let killed = killed.unwrap();

    assert_eq!(sweep(&second, SILENCE, &[&recorded]).await, Sweep::default());
    silent_since(&killed, SILENCE + Duration::from_secs(1));
    let swept = sweep(&second, SILENCE, &[&recorded]).await;

    assert_eq!(swept, Sweep { temporary: 1, unrecorded: 1, partial: 0 });
    assert!(!killed.exists());
    assert!(matches!(second.read(&unrecorded).await, Err(BlobsError::NotFound(_))));
    second.read(&recorded).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_only_paused_keeps_what_it_has_however_long_it_is_silent() {
    let folder = TempDir::new().unwrap();
    let paused = node(&folder);
    let mut arriving = paused.receive().await.unwrap();
    arriving.write(Bytes::from_static(b"bytes")).await.unwrap();
    let place = fs::read_dir(folder.path().join("nodes")).unwrap().next().unwrap().unwrap().path();
    let second = node(&folder);
    silent_since(&place, 100 * SILENCE);

    assert_eq!(sweep(&second, SILENCE, &[]).await, Sweep::default());

    paused.publish(arriving.finish().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn on_a_filesystem_that_keeps_locks_to_itself_a_node_that_is_seen_is_not_swept() {
    let folder = TempDir::new().unwrap();
    let second = node(&folder);
    kill(&folder, |place| fs::write(place.join("tmp/arriving"), b"bytes").unwrap());

    assert_eq!(sweep(&second, SILENCE, &[]).await, Sweep::default());

    assert!(folder.path().join("nodes/0123456789abcdef01234567/tmp/arriving").exists());
}

#[tokio::test]
async fn a_node_that_ends_in_order_leaves_no_folder() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (node(&folder), node(&folder));
    let location = store(&first, b"bytes").await;
    first.recorded(&location).await;
    first.be_seen().await.unwrap();

    drop(first);

    assert_eq!(entries(&folder.path().join("nodes")), 1);
    second.read(&location).await.unwrap();
}

#[tokio::test]
async fn a_folder_is_one_servers_own_or_that_of_several() {
    let folder = TempDir::new().unwrap();
    let alone = Files::open(folder.path(), Arc::new(OsRandomness)).unwrap();
    let among = Files::open_among_others(folder.path(), &randomness());
    assert!(matches!(among, Err(BlobsError::InUse(_))));
    drop(alone);

    let (_first, _second) = (node(&folder), node(&folder));

    let alone = Files::open(folder.path(), Arc::new(OsRandomness));
    assert!(matches!(alone, Err(BlobsError::InUse(_))));
}

#[tokio::test]
async fn what_a_server_left_that_was_alone_is_removed_by_those_that_share_the_folder_after_it() {
    let folder = TempDir::new().unwrap();
    let alone = Files::open(folder.path(), Arc::new(OsRandomness)).unwrap();
    let left = store(&alone, b"left").await;
    drop(alone);
    fs::write(folder.path().join("tmp/stump"), b"stump").unwrap();
    let first = node(&folder);

    assert_eq!(sweep(&first, SILENCE, &[]).await, Sweep { temporary: 1, unrecorded: 1, partial: 0 });

    assert!(matches!(first.read(&left).await, Err(BlobsError::NotFound(_))));
}

#[tokio::test]
async fn what_a_process_left_that_wrote_beside_a_server_is_removed_at_its_next_start() {
    let folder = TempDir::new().unwrap();
    kill(&folder, |place| fs::write(place.join("tmp/stump"), b"stump").unwrap());
    let beside = Files::open_beside(folder.path(), &randomness()).unwrap();
    let mut arriving = beside.receive().await.unwrap();
    arriving.write(Bytes::from_static(b"bytes")).await.unwrap();

    let alone = Files::open(folder.path(), Arc::new(OsRandomness)).unwrap();
    let swept = alone.sweep([].into(), async |_| Ok::<_, BlobsError>(false)).await.unwrap();

    assert_eq!(swept, Sweep { temporary: 1, unrecorded: 0, partial: 0 });
    beside.publish(arriving.finish().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_at_another_node_and_never_at_two() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (node(&folder), node(&folder));
    let name = PartialName::random(&OsRandomness);
    let mut paused = first.receive_partial(&name).await.unwrap();
    paused.write(Bytes::from_static(b"the beginning, ")).await.unwrap();

    let refused = second.resume(&name, 0).await;
    assert!(matches!(refused, Err(BlobsError::Unavailable(_))), "{refused:?}");

    let size = paused.pause().await.unwrap();
    assert_eq!(second.partial_names().await.unwrap(), std::slice::from_ref(&name));
    let mut goes_on = second.resume(&name, size).await.unwrap();
    goes_on.write(Bytes::from_static(b"and the end")).await.unwrap();
    assert_eq!(goes_on.into_bytes().await.unwrap(), "the beginning, and the end");
}
