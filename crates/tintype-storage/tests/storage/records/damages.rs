//! Blobs that are damaged, and going through all blobs, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::collections::HashSet;

use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OsRandomness, Timestamp, UserId};
use tintype_storage::{
    blobs::Location,
    records::{
        Body, Damage, Damaged, InsertMedia, InsertOutcome, InsertRemote, InsertThumbnail, KeptBlob, KeptBlobs,
        NewAudience, NewBlob, NewLifetime, Note, NoteDamage, Quota, Records, RemoteKey, RemoteResponse, RemoteSource,
        ThumbnailKey, ThumbnailMethod, ThumbnailOutcome,
    },
};

use super::support;

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

/// Bytes that are in the blob store, and where.
fn blob(body: &str) -> (NewBlob, Location) {
    let sha256 = ContentHash::of(body.as_bytes());
    let location = Location::new(sha256, &OsRandomness);
    (NewBlob { sha256, size: body.len() as u64, body: Body::At(location.clone()) }, location)
}

async fn upload(records: &Records, id: &str, blob: NewBlob) -> InsertOutcome {
    let media = InsertMedia {
        mxc: mxc(id),
        blob,
        content_type: b"text/plain".to_vec(),
        filename: None,
        uploader: UserId::parse("@alice:example.org").unwrap(),
        created_at: Timestamp(1),
        quota: Quota::UNLIMITED,
        lifetime: NewLifetime::Kept,
        audience: NewAudience::Everyone,
    };
    records.insert_media(media).await.unwrap()
}

async fn fetch(records: &Records, blob: NewBlob) -> RemoteKey {
    let key = RemoteKey { mxc: Mxc::from_parts("far.example", "one").unwrap(), response: RemoteResponse::Original };
    let remote = InsertRemote {
        key: key.clone(),
        blob,
        content_type: b"text/plain".to_vec(),
        filename: None,
        fetched_at: Timestamp(1),
        lifetime: Lifetime::Kept,
        audience: Audience::Everyone,
        source: RemoteSource::Origin,
    };
    records.insert_remote(remote).await.unwrap();
    key
}

async fn thumbnail(records: &Records, id: &str, blob: NewBlob) -> ThumbnailKey {
    let key = ThumbnailKey { mxc: mxc(id), width: 32, height: 32, method: ThumbnailMethod::Crop };
    let thumbnail = InsertThumbnail {
        key: key.clone(),
        blob: Some(blob),
        content_type: "image/png",
        created_at: Timestamp(1),
        max_sizes: 10,
    };
    assert_ne!(records.insert_thumbnail(thumbnail).await.unwrap(), ThumbnailOutcome::Inserted, "the bytes are there");
    key
}

async fn first(records: &Records) -> KeptBlob {
    records.kept_blobs(0, 1).await.unwrap().remove(0)
}

async fn note(records: &Records, blob: &KeptBlob, damage: Damage, now: i64) -> Option<Damaged> {
    records.note_damage(NoteDamage { blob: blob.clone(), damage, now: Timestamp(now) }).await.unwrap()
}

#[tokio::test]
async fn what_can_be_had_again_is_forgotten_and_what_cannot_is_noted_until_it_is_mended() {
    let (records, _home) = support::records().await;
    let (bytes, location) = blob("bytes");
    upload(&records, "one", bytes.clone()).await;
    let (response, thumbnail) = (fetch(&records, bytes.clone()).await, thumbnail(&records, "one", bytes).await);
    let damaged = first(&records).await;

    let noted = note(&records, &damaged, Damage::Changed, 5).await.unwrap();

    assert_eq!(
        (noted.media, noted.responses, noted.thumbnails),
        (vec![mxc("one")], vec![response.clone()], vec![thumbnail.clone()])
    );
    assert_eq!(records.find_remote(&response).await.unwrap(), None);
    assert!(records.find_thumbnail(&thumbnail).await.unwrap().is_none());
    note(&records, &damaged, Damage::Missing, 6).await.unwrap();
    let listed = records.damages().await.unwrap().remove(0);
    assert_eq!((listed.location, listed.size, listed.damage), (location, 5, Damage::Missing));
    assert_eq!((listed.found_at, listed.media), (Timestamp(5), vec![mxc("one")]));
    assert_eq!(records.count_damages().await.unwrap(), (1, 1));

    assert!(records.is_mended(&damaged).await.unwrap());
    assert!(!records.is_mended(&damaged).await.unwrap());
    assert_eq!(records.count_damages().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn the_last_that_can_be_had_again_takes_the_blob_with_it() {
    let (records, _home) = support::records().await;
    let (bytes, location) = blob("bytes");
    fetch(&records, bytes).await;
    let damaged = first(&records).await;

    assert_eq!(note(&records, &damaged, Damage::Changed, 5).await.unwrap().media, []);

    assert_eq!(records.removals(10).await.unwrap(), [location]);
    assert_eq!(records.count_damages().await.unwrap(), (0, 0));
    assert_eq!(note(&records, &damaged, Damage::Changed, 6).await, None, "nobody names it any more");
}

#[tokio::test]
async fn the_same_bytes_take_the_place_of_damaged_ones_and_of_no_others() {
    let (records, _home) = support::records().await;
    let ((bytes, before), (again, after)) = (blob("bytes"), blob("bytes"));
    upload(&records, "one", bytes).await;
    assert_eq!(upload(&records, "two", again).await, InsertOutcome::Deduplicated);
    assert_eq!(records.mend(&after, Timestamp(6)).await.unwrap(), None, "nothing is damaged");
    note(&records, &first(&records).await, Damage::Changed, 5).await.unwrap();
    assert_eq!(records.mend(&blob("others").1, Timestamp(6)).await.unwrap(), None);

    let mut media = records.mend(&after, Timestamp(6)).await.unwrap().unwrap();

    media.sort_by_key(ToString::to_string);
    assert_eq!(media, [mxc("one"), mxc("two")]);
    assert_eq!(first(&records).await.location, after);
    assert_eq!(records.removals(10).await.unwrap(), [before]);
    assert_eq!(records.count_damages().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn all_blobs_are_gone_through_in_an_order_and_found_by_their_first_byte() {
    let (records, _home) = support::records().await;
    let mut locations = HashSet::new();
    for number in 0..5 {
        let (bytes, location) = blob(&format!("bytes {number}"));
        upload(&records, &format!("media{number}"), bytes).await;
        locations.insert(location);
    }

    assert_eq!(records.count_kept_blobs(0).await.unwrap(), KeptBlobs { blobs: 5, bytes: 35 });
    let two = records.kept_blobs(0, 2).await.unwrap();
    let rest = records.kept_blobs(two[1].id, 10).await.unwrap();
    assert_eq!(records.count_kept_blobs(two[1].id).await.unwrap(), KeptBlobs { blobs: 3, bytes: 21 });
    let all: HashSet<_> = two.iter().chain(&rest).map(|blob| blob.location.clone()).collect();
    assert_eq!(all, locations);
    let mut by_byte = HashSet::new();
    for byte in 0..=u8::MAX {
        let found = records.locations_of(byte).await.unwrap();
        assert!(found.iter().all(|location| location.content_hash().as_bytes()[0] == byte));
        by_byte.extend(found);
    }
    assert_eq!(by_byte, locations);
    for location in &locations {
        assert!(records.is_kept(location).await.unwrap());
        assert!(!records.is_kept(&Location::new(location.content_hash(), &OsRandomness)).await.unwrap());
    }
}

#[tokio::test]
async fn a_note_is_there_until_it_is_replaced_or_taken_away() {
    let (records, home) = support::records().await;
    assert_eq!(records.noted(Note::Scrub).await.unwrap(), None);
    records.note(Note::Scrub, Some("1 2".to_owned())).await.unwrap();
    records.note(Note::Scrub, Some("1 3".to_owned())).await.unwrap();
    records.note(Note::Strays, Some("4".to_owned())).await.unwrap();
    records.close().await;

    let records = home.open().await;

    assert_eq!(records.noted(Note::Scrub).await.unwrap().as_deref(), Some("1 3"));
    records.note(Note::Scrub, None).await.unwrap();
    assert_eq!(records.noted(Note::Scrub).await.unwrap(), None);
    assert_eq!(records.noted(Note::Strays).await.unwrap().as_deref(), Some("4"));
}
