//! Blobs that are read while they are written.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tintype_domain::OsRandomness;
use tintype_storage::blobs::{BlobsError, Growing, GrowingStream, Incoming, PartialName};
use tokio::time::timeout;

use super::support::folder;

const MIB: usize = 1024 * 1024;

/// How long something may take that has to happen: waited for only by a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that differ everywhere, so that a block at the wrong place is noticed.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8) ^ (n >> 16)).to_le_bytes()[0]).collect()
}

/// Writes bytes, and returns when readers can see them.
async fn write(incoming: &mut Incoming, growing: &Growing, bytes: &[u8]) {
    incoming.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    let last = incoming.size() - 1;
    let written = async {
        tokio::select! {
            () = growing.reaches(last) => {}
            error = async {
                loop {
                    if let Err(error) = incoming.catch_up().await {
                        return error;
                    }
                }
            } => panic!("{error}"),
        }
    };
    timeout(PATIENCE, written).await.unwrap();
}

async fn next(stream: &mut GrowingStream) -> Option<Result<Bytes, BlobsError>> {
    timeout(PATIENCE, stream.next()).await.unwrap()
}

/// What comes until the end, or until it breaks off.
async fn rest(mut stream: GrowingStream) -> (Vec<u8>, Option<BlobsError>) {
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut stream).await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => return (bytes, Some(error)),
        }
    }
    (bytes, None)
}

/// So many bytes, of which no more may be there.
async fn exactly(stream: &mut GrowingStream, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        bytes.extend_from_slice(&next(stream).await.unwrap().unwrap());
    }
    assert_eq!(bytes.len(), length);
    assert!(stream.next().now_or_never().is_none());
    bytes
}

#[tokio::test]
async fn a_reader_gets_what_was_there_and_what_comes() {
    let (_folder, files) = folder();
    let bytes = pattern(3 * MIB + 17);
    let mut incoming = files.receive().await.unwrap();
    incoming.write(Bytes::copy_from_slice(&bytes[..=MIB])).await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    let reader = tokio::spawn(rest(growing.stream(0, None)));
    let part = tokio::spawn(rest(growing.stream(2_000_000, Some(3_000_000))));

    for chunk in bytes[MIB + 1..].chunks(70_001) {
        incoming.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let hashed = incoming.finish().await.unwrap();
    files.publish(hashed).await.unwrap();
    growing.finish();

    let (read, error) = reader.await.unwrap();
    assert!(read == bytes && error.is_none(), "{error:?}");
    let (read, error) = part.await.unwrap();
    assert!(read == bytes[2_000_000..3_000_000] && error.is_none(), "{error:?}");
    let (read, error) = rest(growing.stream(5, None)).await;
    assert!(read == bytes[5..] && error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_few_bytes_are_read_before_a_block_is_full() {
    let (_folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    let mut reader = growing.stream(0, None);
    assert!(reader.next().now_or_never().is_none());

    for byte in 0..10 {
        write(&mut incoming, &growing, &[byte]).await;
        assert_eq!(exactly(&mut reader, 1).await, [byte]);
    }
}

#[tokio::test]
async fn the_last_byte_of_a_known_length_is_kept_back_until_it_is_whole() {
    let (_folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, Some(10)).await.unwrap();
    let (mut whole, mut last) = (growing.stream(0, Some(10)), growing.stream(9, Some(10)));
    incoming.write(Bytes::from_static(b"0123456789")).await.unwrap();
    let hashed = incoming.finish().await.unwrap();

    assert_eq!(exactly(&mut whole, 9).await, b"012345678");
    assert!(last.next().now_or_never().is_none());
    assert_eq!(growing.arrived(), 9);
    drop(hashed);
    growing.finish();

    assert_eq!(rest(whole).await.0, b"9");
    assert_eq!(rest(last).await.0, b"9");
    assert_eq!((growing.arrived(), growing.is_whole()), (10, true));
}

#[tokio::test]
async fn a_part_that_does_not_reach_the_end_is_whole_without_the_rest() {
    let (_folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, Some(100)).await.unwrap();
    let part = growing.stream(2, Some(5));
    write(&mut incoming, &growing, b"0123456789").await;

    let (read, error) = rest(part).await;

    assert_eq!(read, b"234");
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn readers_of_what_broke_off_get_an_error_and_never_an_end() {
    let (_folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    let (mut whole, later) = (growing.stream(0, None), growing.stream(1_000, None));
    write(&mut incoming, &growing, b"0123456789").await;
    assert_eq!(exactly(&mut whole, 10).await, b"0123456789");

    growing.break_off();

    for stream in [whole, later, growing.stream(0, None), growing.stream(10, Some(11))] {
        let (read, error) = rest(stream).await;
        assert!(read.is_empty());
        assert!(matches!(error, Some(BlobsError::BrokenOff)), "{error:?}");
    }
    timeout(PATIENCE, growing.reaches(1_000)).await.unwrap();
    assert!(!growing.is_whole());
}

#[tokio::test]
async fn an_error_is_the_last_thing_that_a_reader_gets() {
    let (_folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    let mut stream = growing.stream(0, None);
    growing.break_off();

    assert!(matches!(next(&mut stream).await, Some(Err(BlobsError::BrokenOff))));
    assert!(next(&mut stream).await.is_none());
}

/// How many files below a folder this process has open.
fn open_below(folder: &std::path::Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|path| path.starts_with(folder)).count()
}

#[tokio::test]
async fn what_breaks_off_takes_no_room_while_a_reader_does_not_notice() {
    let (folder, files) = folder();
    let before = open_below(folder.path());
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    let mut stream = growing.stream(0, None);
    write(&mut incoming, &growing, &pattern(2 * MIB)).await;
    next(&mut stream).await.unwrap().unwrap();
    assert!(open_below(folder.path()) > before);

    growing.break_off();
    drop(incoming);

    // The thread that wrote the last block may be about to let go of it.
    let closed = async {
        while open_below(folder.path()) > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    assert!(matches!(next(&mut stream).await, Some(Err(BlobsError::BrokenOff))));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn what_is_whole_does_not_break_off() {
    let (_folder, files) = folder();
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    write(&mut incoming, &growing, b"0123456789").await;

    growing.finish();
    growing.break_off();

    let (read, error) = rest(growing.stream(0, None)).await;
    assert_eq!(read, b"0123456789");
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn readers_read_on_when_the_file_is_gone() {
    let (folder, files) = folder();
    let bytes = pattern(MIB);
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    write(&mut incoming, &growing, &bytes).await;
    let stream = growing.stream(0, None);

    // As when the same bytes were stored before.
    drop(incoming.finish().await.unwrap());
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    growing.finish();

    assert!(rest(stream).await.0 == bytes);
}

#[tokio::test]
async fn readers_read_on_across_an_interruption() {
    let (_folder, files) = folder();
    let bytes = pattern(MIB);
    let name = PartialName::random(&OsRandomness);
    let mut incoming = files.receive_partial(&name).await.unwrap();
    let growing = files.grow(&mut incoming, Some(bytes.len() as u64)).await.unwrap();
    let reader = tokio::spawn(rest(growing.stream(0, Some(bytes.len() as u64))));
    write(&mut incoming, &growing, &bytes[..300_000]).await;
    assert_eq!(incoming.pause().await.unwrap(), 300_000);

    let mut resumed = files.resume(&name, 300_000).await.unwrap();
    resumed.report_to(Arc::clone(&growing)).await.unwrap();
    resumed.write(Bytes::copy_from_slice(&bytes[300_000..])).await.unwrap();
    let hashed = resumed.finish().await.unwrap();
    assert_eq!(hashed.sha256, tintype_domain::ContentHash::of(&bytes));
    growing.finish();

    let (read, error) = reader.await.unwrap();
    assert!(read == bytes && error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody() {
    let (_folder, files) = folder();
    let bytes = pattern(2 * MIB);
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();
    let mut slow = growing.stream(0, None);
    let quick = tokio::spawn(rest(growing.stream(0, None)));
    write(&mut incoming, &growing, &bytes[..10]).await;
    assert_eq!(exactly(&mut slow, 10).await, bytes[..10]);

    incoming.write(Bytes::copy_from_slice(&bytes[10..])).await.unwrap();
    incoming.finish().await.unwrap();
    growing.finish();

    assert!(quick.await.unwrap().0 == bytes);
    assert!(rest(slow).await.0 == bytes[10..]);
}

/// A request is polled together with the writing of what it brought, and each of the two may be dropped at any time.
#[tokio::test]
async fn catching_up_can_be_dropped_at_any_await_and_nothing_is_lost() {
    let (_folder, files) = folder();
    let bytes = pattern(600_000);
    let mut incoming = files.receive().await.unwrap();
    let growing = files.grow(&mut incoming, None).await.unwrap();

    for (index, chunk) in bytes.chunks(997).enumerate() {
        incoming.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        for _ in 0..index % 4 {
            let _ = incoming.catch_up().now_or_never();
            tokio::task::yield_now().await;
        }
    }
    let hashed = incoming.finish().await.unwrap();

    assert_eq!(hashed.size, 600_000);
    assert_eq!(hashed.sha256, tintype_domain::ContentHash::of(&bytes));
    growing.finish();
    assert!(rest(growing.stream(0, None)).await.0 == bytes);
}

/// Connections have runtimes of their own, which end before the one that keeps what an interrupted upload has brought.
/// Which of the two is first, the end or the thread that writes, is chance: so it is tried often.
#[test]
fn what_a_connection_was_writing_is_kept_when_its_runtime_ends() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let main = runtime();
    let (_folder, files) = main.block_on(async { folder() });
    let block = Bytes::from(pattern(MIB / 4));
    for round in 0..100 {
        let of_connection = runtime();
        let name = PartialName::random(&OsRandomness);
        let incoming = of_connection.block_on(async {
            let mut incoming = files.receive_partial(&name).await.unwrap();
            incoming.write(block.clone()).await.unwrap();
            incoming
        });

        drop(of_connection);

        let kept = main.block_on(incoming.pause());
        assert!(matches!(kept, Ok(262_144)), "{kept:?} in round {round}");
        main.block_on(files.remove_partial(&name)).unwrap();
    }
}
