//! The records of remote media, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use bytes::Bytes;
use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OsRandomness, Timestamp, UserId};
use tintype_storage::{
    blobs::Location,
    records::{
        Body, EvictRemote, Evicted, InsertMedia, InsertOutcome, InsertRemote, InsertThumbnail, NewAudience, NewBlob,
        NewLifetime, Quota, Records, RemoteKey, RemoteResponse, RemoteSource, RemoteUsage, ThumbnailKey,
        ThumbnailMethod, ThumbnailOutcome,
    },
};

use super::support::{self, Home};

struct Database {
    records: Records,
    folder: Home,
}

async fn database() -> Database {
    let (records, folder) = support::records().await;
    Database { records, folder }
}

fn original(id: &str) -> RemoteKey {
    RemoteKey { mxc: Mxc::from_parts("far.example", id).unwrap(), response: RemoteResponse::Original }
}

fn thumbnail(id: &str, width: u32, method: ThumbnailMethod) -> RemoteKey {
    RemoteKey { response: RemoteResponse::Thumbnail { width, height: 32, method }, ..original(id) }
}

fn inline(body: &'static [u8]) -> NewBlob {
    NewBlob { sha256: ContentHash::of(body), size: body.len() as u64, body: Body::Inline(Bytes::from_static(body)) }
}

/// Bytes that are in the blob store, and where.
fn in_a_file(body: &[u8]) -> (NewBlob, Location) {
    let sha256 = ContentHash::of(body);
    let location = Location::new(sha256, &OsRandomness);
    (NewBlob { sha256, size: body.len() as u64, body: Body::At(location.clone()) }, location)
}

fn remote(key: RemoteKey, blob: NewBlob, fetched_at: i64) -> InsertRemote {
    InsertRemote {
        key,
        blob,
        content_type: b"text/plain; \xff".to_vec(),
        filename: Some("grüße.txt".to_owned()),
        fetched_at: Timestamp(fetched_at),
        lifetime: Lifetime::Kept,
        audience: Audience::Everyone,
        source: RemoteSource::Origin,
    }
}

fn local(id: &str, blob: NewBlob) -> InsertMedia {
    InsertMedia {
        mxc: Mxc::from_parts("example.org", id).unwrap(),
        blob,
        content_type: b"text/plain".to_vec(),
        filename: None,
        uploader: UserId::parse("@alice:example.org").unwrap(),
        created_at: Timestamp(1),
        quota: Quota::UNLIMITED,
        lifetime: NewLifetime::Kept,
        audience: NewAudience::Everyone,
    }
}

fn evict(unused_since: Option<i64>, max_bytes: Option<u64>) -> EvictRemote {
    EvictRemote { unused_since: unused_since.map(Timestamp), max_bytes, limit: 100, now: Timestamp(9_000) }
}

fn everything() -> EvictRemote {
    evict(None, Some(0))
}

#[tokio::test]
async fn what_was_recorded_is_found_unchanged_after_a_restart() {
    let Database { records, folder } = database().await;
    let response = remote(original("one"), inline(b"hello"), 1_000);
    assert_eq!(records.insert_remote(response.clone()).await.unwrap(), InsertOutcome::Inserted);
    records.close().await;

    let records = folder.open().await;
    let found = records.find_remote(&response.key).await.unwrap().unwrap();

    assert_eq!(found.body, response.blob.body);
    assert_eq!(found.record.content_type, response.content_type);
    assert_eq!(found.record.filename, response.filename);
    assert_eq!(found.record.uploader, None);
    assert_eq!((found.record.size, found.record.created_at), (5, Timestamp(1_000)));
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 5, responses: 1 });
    assert_eq!(records.find_remote(&original("two")).await.unwrap(), None);
}

#[tokio::test]
async fn each_response_about_a_piece_of_media_is_its_own() {
    let Database { records, folder: _folder } = database().await;
    let responses = [
        (original("one"), b"original" as &[u8]),
        (thumbnail("one", 32, ThumbnailMethod::Scale), b"scaled"),
        (thumbnail("one", 32, ThumbnailMethod::Crop), b"cropped"),
        (thumbnail("one", 64, ThumbnailMethod::Scale), b"larger"),
        (thumbnail("two", 32, ThumbnailMethod::Scale), b"another's"),
    ];
    for (key, body) in &responses {
        records.insert_remote(remote(key.clone(), inline(body), 1)).await.unwrap();
    }

    for (key, body) in responses {
        let found = records.find_remote(&key).await.unwrap().unwrap();

        assert_eq!(found.body, Body::Inline(Bytes::from_static(body)), "{key:?}");
    }
}

#[tokio::test]
async fn remote_media_shares_the_bytes_of_local_media() {
    let Database { records, folder: _folder } = database().await;
    let ((uploaded, location), (fetched, not_needed)) = (in_a_file(b"large"), in_a_file(b"large"));
    records.insert_media(local("one", uploaded)).await.unwrap();

    let outcome = records.insert_remote(remote(original("one"), fetched, 1)).await.unwrap();

    assert_eq!(outcome, InsertOutcome::Deduplicated);
    let found = records.find_remote(&original("one")).await.unwrap().unwrap();
    assert_eq!(found.body, Body::At(location));
    assert!(!records.is_recorded(&not_needed).await.unwrap());
}

#[tokio::test]
async fn local_media_shares_the_bytes_of_remote_media_and_outlives_it() {
    let Database { records, folder: _folder } = database().await;
    let ((fetched, location), (uploaded, _)) = (in_a_file(b"large"), in_a_file(b"large"));
    records.insert_remote(remote(original("one"), fetched, 1)).await.unwrap();
    let upload = local("one", uploaded);

    let outcome = records.insert_media(upload.clone()).await.unwrap();
    records.evict_remote(everything()).await.unwrap();

    assert_eq!(outcome, InsertOutcome::Deduplicated);
    assert_eq!(records.find_remote(&original("one")).await.unwrap(), None);
    let found = records.find_media(&upload.mxc).await.unwrap().unwrap();
    assert_eq!(found.body, Body::At(location));
    assert_eq!(records.removals(10).await.unwrap(), []);
}

#[tokio::test]
async fn bytes_that_a_thumbnail_of_local_media_names_stay() {
    let Database { records, folder: _folder } = database().await;
    let upload = local("one", inline(b"picture"));
    records.insert_media(upload.clone()).await.unwrap();
    let (fetched, location) = in_a_file(b"thumbnail");
    records.insert_remote(remote(original("one"), fetched.clone(), 1)).await.unwrap();
    let made = InsertThumbnail {
        key: ThumbnailKey { mxc: upload.mxc, width: 32, height: 32, method: ThumbnailMethod::Crop },
        content_type: "image/png",
        blob: Some(fetched),
        created_at: Timestamp(2),
        max_sizes: 1,
    };
    assert_eq!(records.insert_thumbnail(made).await.unwrap(), ThumbnailOutcome::NotNeeded);

    records.evict_remote(everything()).await.unwrap();

    assert!(records.is_recorded(&location).await.unwrap());
    assert_eq!(records.removals(10).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_not_used_for_long_goes() {
    let Database { records, folder: _folder } = database().await;
    for (id, at) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
        records.insert_remote(remote(original(id), inline(b"12345"), at)).await.unwrap();
    }
    records.touch_remote(vec![(original("b"), Timestamp(35))]).await.unwrap();

    let evicted = records.evict_remote(evict(Some(35), None)).await.unwrap();

    assert_eq!(evicted, Evicted { keys: vec![original("c"), original("a")], bytes: 10 });
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 10, responses: 2 });
    assert_eq!(records.evict_remote(evict(Some(35), None)).await.unwrap(), Evicted::default());
}

#[tokio::test]
async fn of_too_many_bytes_those_go_whose_last_access_is_oldest() {
    let Database { records, folder: _folder } = database().await;
    for (id, body, at) in [("a", b"1234" as &[u8], 30), ("b", b"12345", 10), ("c", b"123", 20), ("d", b"12", 40)] {
        records.insert_remote(remote(original(id), inline(body), at)).await.unwrap();
    }

    let none = records.evict_remote(evict(None, Some(14))).await.unwrap();
    let evicted = records.evict_remote(evict(None, Some(6))).await.unwrap();

    assert_eq!(none, Evicted::default());
    assert_eq!(evicted, Evicted { keys: vec![original("b"), original("c")], bytes: 8 });
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 6, responses: 2 });
}

#[tokio::test]
async fn only_so_many_responses_go_at_once() {
    let Database { records, folder: _folder } = database().await;
    for (id, at) in [("a", 1), ("b", 2), ("c", 3)] {
        records.insert_remote(remote(original(id), inline(b"x"), at)).await.unwrap();
    }
    let two = EvictRemote { limit: 2, ..everything() };

    let first = records.evict_remote(two).await.unwrap();
    let second = records.evict_remote(two).await.unwrap();

    assert_eq!(first.keys, [original("a"), original("b")]);
    assert_eq!(second.keys, [original("c")]);
}

#[tokio::test]
async fn the_bytes_of_two_responses_go_with_the_second() {
    let Database { records, folder: _folder } = database().await;
    let ((first, location), (second, _)) = (in_a_file(b"same"), in_a_file(b"same"));
    records.insert_remote(remote(original("a"), first, 10)).await.unwrap();
    records.insert_remote(remote(original("b"), second, 20)).await.unwrap();

    records.evict_remote(evict(Some(20), None)).await.unwrap();
    assert!(records.is_recorded(&location).await.unwrap());
    assert_eq!(records.removals(10).await.unwrap(), []);

    records.evict_remote(evict(Some(21), None)).await.unwrap();
    assert!(!records.is_recorded(&location).await.unwrap());
    assert_eq!(records.removals(10).await.unwrap(), [location]);
}

#[tokio::test]
async fn a_removal_waits_until_it_is_done_even_after_a_restart() {
    let Database { records, folder } = database().await;
    let ((first, one), (second, two)) = (in_a_file(b"one"), in_a_file(b"two"));
    records.insert_remote(remote(original("a"), first, 10)).await.unwrap();
    records.insert_remote(remote(original("b"), second, 20)).await.unwrap();
    records.evict_remote(EvictRemote { limit: 1, now: Timestamp(1), ..everything() }).await.unwrap();
    records.evict_remote(EvictRemote { now: Timestamp(2), ..everything() }).await.unwrap();
    records.close().await;

    let records = folder.open().await;
    let waiting = [one, two.clone()];
    assert_eq!(records.removals(1).await.unwrap(), waiting[..1]);
    assert_eq!(records.removals(10).await.unwrap(), waiting);

    records.removed(waiting[..1].to_vec()).await.unwrap();
    assert_eq!(records.removals(10).await.unwrap(), [two]);
}

#[tokio::test]
async fn small_bytes_leave_nothing_to_remove() {
    let Database { records, folder: _folder } = database().await;
    records.insert_remote(remote(original("a"), inline(b"small"), 10)).await.unwrap();

    let evicted = records.evict_remote(everything()).await.unwrap();

    assert_eq!(evicted.keys, [original("a")]);
    assert_eq!(records.removals(10).await.unwrap(), []);
    let again = records.insert_remote(remote(original("a"), inline(b"small"), 20)).await.unwrap();
    assert_eq!(again, InsertOutcome::Inserted);
}

#[tokio::test]
async fn the_time_of_the_last_access_never_goes_back() {
    let Database { records, folder: _folder } = database().await;
    records.insert_remote(remote(original("a"), inline(b"x"), 100)).await.unwrap();
    records.insert_remote(remote(original("b"), inline(b"x"), 90)).await.unwrap();
    let accesses = [("b", 200), ("a", 50), ("b", 150), ("never stored", 300)]
        .map(|(id, at)| (original(&id.replace(' ', "_")), Timestamp(at)));

    records.touch_remote(accesses.to_vec()).await.unwrap();

    assert_eq!(records.evict_remote(evict(Some(100), None)).await.unwrap().keys, []);
    assert_eq!(records.evict_remote(evict(Some(101), None)).await.unwrap().keys, [original("a")]);
    assert_eq!(records.evict_remote(evict(Some(200), None)).await.unwrap().keys, []);
    assert_eq!(records.evict_remote(evict(Some(201), None)).await.unwrap().keys, [original("b")]);
}

#[tokio::test]
async fn a_response_that_is_fetched_again_replaces_the_first() {
    let Database { records, folder: _folder } = database().await;
    let ((first, old), (second, new)) = (in_a_file(b"first"), in_a_file(b"a second"));
    records.insert_remote(remote(original("a"), first, 10)).await.unwrap();

    let outcome = records.insert_remote(remote(original("a"), second, 20)).await.unwrap();

    assert_eq!(outcome, InsertOutcome::Inserted);
    let found = records.find_remote(&original("a")).await.unwrap().unwrap();
    assert_eq!((found.body, found.record.created_at), (Body::At(new), Timestamp(20)));
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 8, responses: 1 });
    assert_eq!(records.removals(10).await.unwrap(), [old]);
}

#[tokio::test]
async fn a_response_that_is_fetched_again_unchanged_keeps_its_bytes() {
    let Database { records, folder: _folder } = database().await;
    let ((first, location), (second, _)) = (in_a_file(b"same"), in_a_file(b"same"));
    records.insert_remote(remote(original("a"), first, 10)).await.unwrap();

    let outcome = records.insert_remote(remote(original("a"), second, 20)).await.unwrap();

    assert_eq!(outcome, InsertOutcome::Deduplicated);
    let found = records.find_remote(&original("a")).await.unwrap().unwrap();
    assert_eq!(found.body, Body::At(location));
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 4, responses: 1 });
    assert_eq!(records.removals(10).await.unwrap(), []);
}

#[tokio::test]
async fn all_responses_about_a_piece_of_media_are_forgotten_together() {
    let Database { records, folder: _folder } = database().await;
    let scaled = thumbnail("one", 32, ThumbnailMethod::Scale);
    let (blob, location) = in_a_file(b"large");
    records.insert_remote(remote(original("one"), blob, 1)).await.unwrap();
    records.insert_remote(remote(scaled.clone(), inline(b"small"), 1)).await.unwrap();
    records.insert_remote(remote(original("two"), inline(b"other"), 1)).await.unwrap();

    let forgotten = records.forget_remote(original("one").mxc, Timestamp(2)).await.unwrap();

    assert_eq!(forgotten, [original("one"), scaled.clone()]);
    assert_eq!(records.find_remote(&original("one")).await.unwrap(), None);
    assert_eq!(records.find_remote(&scaled).await.unwrap(), None);
    assert!(records.find_remote(&original("two")).await.unwrap().is_some());
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 5, responses: 1 });
    assert_eq!(records.removals(10).await.unwrap(), [location]);
    assert_eq!(records.forget_remote(original("one").mxc, Timestamp(3)).await.unwrap(), []);
}

fn event(id: &str) -> Audience {
    Audience::Event(id.try_into().unwrap())
}

#[tokio::test]
async fn what_the_origin_said_last_counts_for_all_that_is_kept_of_its_media() {
    let Database { records, folder: _folder } = database().await;
    let small = thumbnail("one", 32, ThumbnailMethod::Scale);
    let audience = async |key: &RemoteKey| records.find_remote(key).await.unwrap().unwrap().record.audience;
    records.insert_remote(remote(original("one"), inline(b"original"), 1)).await.unwrap();
    records.insert_remote(remote(original("two"), inline(b"another"), 1)).await.unwrap();

    for said in [event("$a"), Audience::Nobody, event("$b"), Audience::Everyone] {
        let response = InsertRemote { audience: said.clone(), ..remote(small.clone(), inline(b"small"), 2) };
        records.insert_remote(response).await.unwrap();
        assert_eq!(audience(&small).await, said);
        assert_eq!(audience(&original("one")).await, said);
    }
    assert_eq!(audience(&original("two")).await, Audience::Everyone);
}

#[tokio::test]
async fn what_is_kept_is_restricted_at_once_and_it_is_told_what_changed() {
    let Database { records, folder: _folder } = database().await;
    let small = thumbnail("one", 32, ThumbnailMethod::Scale);
    for key in [&small, &original("one"), &original("two")] {
        records.insert_remote(remote(key.clone(), inline(b"bytes"), 1)).await.unwrap();
    }
    let mxc = original("one").mxc;

    let mut changed = records.restrict_remote(mxc.clone(), event("$a")).await.unwrap();

    changed.sort_by_key(|key| key.response != RemoteResponse::Original);
    assert_eq!(changed, [original("one"), small.clone()]);
    assert_eq!(records.restrict_remote(mxc, event("$a")).await.unwrap(), []);
    assert_eq!(records.find_remote(&small).await.unwrap().unwrap().record.audience, event("$a"));
    assert_eq!(records.find_remote(&original("two")).await.unwrap().unwrap().record.audience, Audience::Everyone);
}

#[tokio::test]
async fn a_thumbnail_made_here_is_kept_only_beside_the_original_that_it_was_made_of() {
    let Database { records, folder: _folder } = database().await;
    let key = thumbnail("one", 32, ThumbnailMethod::Scale);
    let made =
        |audience| InsertRemote { audience, source: RemoteSource::Made, ..remote(key.clone(), inline(b"small"), 1) };

    records.insert_remote(made(Audience::Everyone)).await.unwrap();
    assert_eq!(records.find_remote(&key).await.unwrap(), None, "its original is gone");
    let response = InsertRemote { audience: event("$a"), ..remote(original("one"), inline(b"original"), 1) };
    records.insert_remote(response).await.unwrap();
    records.insert_remote(made(Audience::Everyone)).await.unwrap();
    assert_eq!(records.find_remote(&key).await.unwrap(), None, "its original was restricted meanwhile");

    records.insert_remote(made(event("$a"))).await.unwrap();

    assert_eq!(records.find_remote(&key).await.unwrap().unwrap().record.audience, event("$a"));
    assert_eq!(records.remote_usage().await.unwrap(), RemoteUsage { bytes: 13, responses: 2 });
}
