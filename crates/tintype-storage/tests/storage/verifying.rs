//! Whether a blob is what was stored, and what is in a store at all.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use bytes::Bytes;
use tintype_domain::{ContentHash, OsRandomness};
use tintype_storage::blobs::{Blobs, Location, Pace, Verdict};

use super::support::folder;

async fn store(blobs: &Blobs, bytes: &'static [u8]) -> Location {
    let mut incoming = blobs.receive().await.unwrap();
    incoming.write(Bytes::from_static(bytes)).await.unwrap();
    blobs.publish(incoming.finish().await.unwrap()).await.unwrap()
}

async fn verify(blobs: &Blobs, location: &Location, size: u64) -> Verdict {
    blobs.verify(location, size, &Pace::new(u64::MAX)).await.unwrap()
}

/// A location that has the random part of one that is there, and the hash of something else.
fn of_other_bytes(location: &Location) -> Location {
    let suffix = location.as_str().split_once('-').unwrap().1;
    Location::parse(&format!("{}-{suffix}", ContentHash::of(b"others").to_hex())).unwrap()
}

#[tokio::test]
async fn a_blob_is_sound_damaged_or_missing() {
    let (folder, blobs) = folder();
    let location = store(&blobs, b"bytes").await;
    let other = of_other_bytes(&location);
    let nowhere = Location::new(ContentHash::of(b"never"), &OsRandomness);

    assert_eq!(verify(&blobs, &location, 5).await, Verdict::Sound);
    assert_eq!(verify(&blobs, &location, 6).await, Verdict::Damaged, "it was longer");
    assert_eq!(verify(&blobs, &nowhere, 5).await, Verdict::Missing);
    assert_eq!(verify(&blobs, &other, 5).await, Verdict::Missing);
    drop(folder);
}

#[tokio::test]
async fn what_is_there_is_listed_by_the_first_byte_of_its_hash() {
    let (_folder, blobs) = folder();
    let (first, second) = (store(&blobs, b"first").await, store(&blobs, b"second").await);

    for location in [&first, &second] {
        let byte = location.content_hash().as_bytes()[0];
        let shelf = blobs.shelf(byte).await.unwrap();
        assert!(shelf.iter().any(|stored| stored.location == *location), "{shelf:?}");
        assert!(shelf.iter().all(|stored| stored.since.as_millis() > 1_700_000_000_000), "{shelf:?}");
    }
    let mut all = 0;
    for byte in 0..=u8::MAX {
        all += blobs.shelf(byte).await.unwrap().len();
    }
    assert_eq!(all, 2);
}

#[tokio::test]
async fn each_installation_learns_how_many_others_use_the_store() {
    let (_folder, blobs) = folder();

    assert_eq!(blobs.mark_as_of("one").await.unwrap(), 0);
    assert_eq!(blobs.mark_as_of("one").await.unwrap(), 0);
    assert_eq!(blobs.mark_as_of("two").await.unwrap(), 1);
    assert_eq!(blobs.mark_as_of("one").await.unwrap(), 1);
}
