//! Deleting ephemeral media, and what is left of it, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use bytes::Bytes;
use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OsRandomness, OwnedUserId, Timestamp, UserId};
use tintype_storage::{
    blobs::{Location, PartialName},
    records::{
        Body, Claim, ClaimOutcome, ClaimPartial, DeleteMedia, DeleteOutcome, Deleter, Fulfil, InsertMedia,
        InsertOutcome, InsertRemote, InsertReservation, InsertThumbnail, MediaKind, NewAudience, NewBlob, NewLifetime,
        Partial, Quota, Records, Release, ReleasePartial, RemoteKey, RemoteResponse, RemoteSource, ReserveOutcome,
        ThumbnailKey, ThumbnailMethod, Usage,
    },
};

use super::support::{self, Home};

/// When everything here is deleted that is not deleted at another time.
const NOW: i64 = 500;

/// When ephemeral media ends by itself.
const END: i64 = 1_000;

struct Database {
    records: Records,
    folder: Home,
}

impl Database {
    async fn new() -> Self {
        let (records, folder) = support::records().await;
        Self { records, folder }
    }

    async fn insert(&self, media: InsertMedia) -> InsertOutcome {
        self.records.insert_media(media).await.unwrap()
    }

    async fn delete(&self, id: &str, deleter: Deleter, now: i64) -> DeleteOutcome {
        self.records.delete_media(DeleteMedia { mxc: mxc(id), deleter, now: Timestamp(now) }).await.unwrap()
    }

    async fn is_there(&self, id: &str) -> bool {
        self.records.find_media(&mxc(id)).await.unwrap().is_some()
    }

    async fn removals(&self) -> Vec<Location> {
        self.records.removals(100).await.unwrap()
    }

    async fn reserve(&self, id: &str, expires_at: i64, kind: MediaKind) {
        let reservation = InsertReservation {
            mxc: mxc(id),
            creator: alice(),
            created_at: Timestamp(0),
            expires_at: Timestamp(expires_at),
            max_pending: 100,
            kind,
        };
        assert_eq!(self.records.reserve(reservation).await.unwrap(), ReserveOutcome::Reserved);
    }

    async fn claim(&self, id: &str, holder: i64) -> ClaimOutcome {
        let claim = Claim { mxc: mxc(id), user: alice(), now: Timestamp(1), holder, partial: ClaimPartial::Keep };
        self.records.claim(claim).await.unwrap()
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

fn alice() -> OwnedUserId {
    UserId::parse("@alice:example.org").unwrap()
}

fn owner() -> Deleter {
    Deleter::Owner(alice())
}

fn other() -> Deleter {
    Deleter::Owner(UserId::parse("@bob:example.org").unwrap())
}

fn inline(body: &'static [u8]) -> NewBlob {
    NewBlob { sha256: ContentHash::of(body), size: body.len() as u64, body: Body::Inline(Bytes::from_static(body)) }
}

fn in_a_file(body: &[u8]) -> (NewBlob, Location) {
    let sha256 = ContentHash::of(body);
    let location = Location::new(sha256, &OsRandomness);
    (NewBlob { sha256, size: body.len() as u64, body: Body::At(location.clone()) }, location)
}

fn kept(id: &str, blob: NewBlob) -> InsertMedia {
    InsertMedia {
        mxc: mxc(id),
        blob,
        content_type: b"text/plain".to_vec(),
        filename: None,
        uploader: alice(),
        created_at: Timestamp(1),
        quota: Quota::UNLIMITED,
        lifetime: NewLifetime::Kept,
        audience: NewAudience::Everyone,
    }
}

fn ephemeral(id: &str, blob: NewBlob) -> InsertMedia {
    let lifetime = NewLifetime::Ephemeral { expires_at: Timestamp(END), quota: Quota::UNLIMITED };
    InsertMedia { lifetime, ..kept(id, blob) }
}

fn thumbnail(id: &str, width: u32, blob: Option<NewBlob>) -> InsertThumbnail {
    InsertThumbnail {
        key: ThumbnailKey { mxc: mxc(id), width, height: 32, method: ThumbnailMethod::Scale },
        content_type: "image/png",
        blob,
        created_at: Timestamp(2),
        max_sizes: 10,
    }
}

fn deleted() -> DeleteOutcome {
    DeleteOutcome::Deleted { partial: None }
}

#[tokio::test]
async fn the_owner_and_an_administrator_can_delete_and_nobody_else() {
    for deleter in [owner(), Deleter::Admin] {
        let database = Database::new().await;
        database.insert(ephemeral("one", inline(b"hello"))).await;

        assert_eq!(database.delete("one", other(), NOW).await, DeleteOutcome::Refused);
        assert!(database.is_there("one").await);
        assert_eq!(database.delete("one", deleter, NOW).await, deleted());
        assert!(!database.is_there("one").await);
    }
}

#[tokio::test]
async fn what_is_kept_and_what_never_was_cannot_be_deleted() {
    let database = Database::new().await;
    database.insert(kept("kept", inline(b"hello"))).await;
    database.reserve("reserved", END, MediaKind::Kept).await;

    for id in ["kept", "reserved", "unknown"] {
        for deleter in [owner(), Deleter::Admin] {
            assert_eq!(database.delete(id, deleter, NOW).await, DeleteOutcome::Refused, "{id}");
        }
    }
    assert!(database.is_there("kept").await);
    assert!(database.records.find_reservation(&mxc("reserved")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_tombstone_tells_its_owner_and_nobody_else() {
    let Database { records, folder } = Database::new().await;
    let database = Database { records, folder };
    database.insert(ephemeral("one", inline(b"hello"))).await;
    database.delete("one", owner(), NOW).await;
    database.records.close().await;

    let records = database.folder.open().await;
    let database = Database { records, ..database };

    assert_eq!(database.delete("one", owner(), NOW).await, DeleteOutcome::AlreadyDeleted);
    assert_eq!(database.delete("one", Deleter::Admin, NOW).await, DeleteOutcome::AlreadyDeleted);
    assert_eq!(database.delete("one", other(), NOW).await, DeleteOutcome::Refused);
}

#[tokio::test]
async fn files_are_queued_with_the_last_reference_and_not_before() {
    let database = Database::new().await;
    let (blob, location) = in_a_file(b"large");
    database.insert(ephemeral("one", blob)).await;
    assert_eq!(database.insert(ephemeral("two", in_a_file(b"large").0)).await, InsertOutcome::Deduplicated);

    database.delete("one", owner(), NOW).await;
    assert_eq!(database.removals().await, []);
    assert!(database.records.is_recorded(&location).await.unwrap());
    assert!(database.is_there("two").await);

    database.delete("two", owner(), NOW).await;
    assert_eq!(database.removals().await, std::slice::from_ref(&location));
    assert!(!database.records.is_recorded(&location).await.unwrap());
    assert_eq!(database.records.owed_removals().await.unwrap(), (1, Some(Timestamp(NOW))));

    database.records.removed(vec![location]).await.unwrap();
    assert_eq!(database.records.owed_removals().await.unwrap(), (0, None));
}

#[tokio::test]
async fn the_same_bytes_uploaded_again_are_not_those_that_are_to_be_removed() {
    let database = Database::new().await;
    let ((old, gone), (new, stays)) = (in_a_file(b"large"), in_a_file(b"large"));
    database.insert(ephemeral("one", old)).await;
    database.delete("one", owner(), NOW).await;

    assert_eq!(database.insert(kept("two", new)).await, InsertOutcome::Inserted);

    assert_eq!(database.removals().await, [gone]);
    assert_eq!(database.records.find_media(&mxc("two")).await.unwrap().unwrap().body, Body::At(stays));
}

#[tokio::test]
async fn thumbnails_go_with_it_and_what_they_share_stays() {
    let database = Database::new().await;
    let ((blob, original), (own, of_its_own)) = (in_a_file(b"large"), in_a_file(b"thumbnail"));
    let (shared, elsewhere) = in_a_file(b"shared");
    database.insert(kept("kept", shared)).await;
    database.insert(ephemeral("one", blob)).await;
    for (width, blob) in [(1, Some(own)), (2, Some(in_a_file(b"shared").0)), (3, None)] {
        database.records.insert_thumbnail(thumbnail("one", width, blob)).await.unwrap();
    }

    database.delete("one", owner(), NOW).await;

    for width in 1..=3 {
        let key = thumbnail("one", width, None).key;
        assert_eq!(database.records.find_thumbnail(&key).await.unwrap(), None, "{width}");
    }
    let (mut removals, mut expected) = (database.removals().await, vec![original, of_its_own]);
    removals.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    expected.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    assert_eq!(removals, expected);
    assert!(database.records.is_recorded(&elsewhere).await.unwrap());
}

#[tokio::test]
async fn a_thumbnail_that_comes_too_late_is_not_recorded() {
    let database = Database::new().await;
    database.insert(ephemeral("one", inline(b"hello"))).await;
    database.delete("one", owner(), NOW).await;

    let (blob, location) = in_a_file(b"thumbnail");
    let late = database.records.insert_thumbnail(thumbnail("one", 1, Some(blob))).await;

    assert!(late.is_err(), "{late:?}");
    assert_eq!(database.records.find_thumbnail(&thumbnail("one", 1, None).key).await.unwrap(), None);
    assert!(!database.records.is_recorded(&location).await.unwrap());
}

#[tokio::test]
async fn deleting_gives_back_what_was_counted() {
    let database = Database::new().await;
    database.insert(kept("kept", inline(b"12345"))).await;
    let limited = |id: &str| {
        let quota = Quota { bytes: 10, media: 1 };
        let lifetime = NewLifetime::Ephemeral { expires_at: Timestamp(END), quota };
        InsertMedia { lifetime, ..ephemeral(id, inline(b"12345")) }
    };
    assert_eq!(database.insert(limited("one")).await, InsertOutcome::Deduplicated);
    assert_eq!(database.insert(limited("two")).await, InsertOutcome::OverEphemeralQuota);
    assert_eq!(database.records.usage(&alice()).await.unwrap(), Usage { bytes: 10, media: 2 });

    database.delete("one", owner(), NOW).await;
    database.delete("one", owner(), NOW).await;

    assert_eq!(database.records.usage(&alice()).await.unwrap(), Usage { bytes: 5, media: 1 });
    assert_eq!(database.insert(limited("two")).await, InsertOutcome::Deduplicated);
}

#[tokio::test]
async fn a_reserved_uri_is_deleted_and_takes_no_upload() {
    let database = Database::new().await;
    database.reserve("one", END, MediaKind::Ephemeral).await;
    assert_eq!(database.delete("one", other(), NOW).await, DeleteOutcome::Refused);

    assert_eq!(database.delete("one", owner(), NOW).await, deleted());

    assert_eq!(database.records.find_reservation(&mxc("one")).await.unwrap(), None);
    assert!(!matches!(database.claim("one", 1).await, ClaimOutcome::Claimed(_)));
    assert_eq!(database.delete("one", owner(), NOW).await, DeleteOutcome::AlreadyDeleted);
}

#[tokio::test]
async fn an_upload_that_is_arriving_is_deleted_and_cannot_be_recorded() {
    let database = Database::new().await;
    database.reserve("one", END, MediaKind::Ephemeral).await;
    assert!(matches!(database.claim("one", 7).await, ClaimOutcome::Claimed(_)));

    assert_eq!(database.delete("one", owner(), NOW).await, deleted());

    let (blob, location) = in_a_file(b"large");
    let fulfil = Fulfil { holder: 7, media: ephemeral("one", blob) };
    assert_eq!(database.records.fulfil(fulfil).await.unwrap(), None);
    assert!(!database.is_there("one").await);
    assert!(!database.records.is_recorded(&location).await.unwrap());
    assert_eq!(database.records.usage(&alice()).await.unwrap(), Usage::default());
}

#[tokio::test]
async fn what_was_kept_of_an_interrupted_upload_is_handed_over() {
    let database = Database::new().await;
    database.reserve("one", END, MediaKind::Ephemeral).await;
    database.claim("one", 7).await;
    let name = PartialName::random(&OsRandomness);
    let partial =
        Partial { name: name.clone(), size: 5, length: Some(10), content_type: b"text/plain".to_vec(), filename: None };
    let release = Release { mxc: mxc("one"), holder: 7, partial: ReleasePartial::Set(Some(partial)) };
    database.records.release(release).await.unwrap();

    assert_eq!(database.delete("one", owner(), NOW).await, DeleteOutcome::Deleted { partial: Some(name) });

    assert_eq!(database.records.partials().await.unwrap(), []);
}

#[tokio::test]
async fn a_reservation_that_expired_is_not_there_to_be_deleted() {
    let database = Database::new().await;
    database.reserve("one", 100, MediaKind::Ephemeral).await;

    assert_eq!(database.delete("one", owner(), 100).await, DeleteOutcome::Refused);
}

#[tokio::test]
async fn what_has_ended_by_itself_was_deleted_already_whether_it_was_swept_or_not() {
    let database = Database::new().await;
    let (blob, location) = in_a_file(b"large");
    database.insert(ephemeral("unswept", blob)).await;
    database.insert(ephemeral("swept", inline(b"hello"))).await;
    assert_eq!(database.delete("unswept", owner(), END).await, DeleteOutcome::AlreadyDeleted);
    assert_eq!(database.removals().await, [location]);

    assert_eq!(database.records.end_media(Timestamp(END), 100).await.unwrap(), [mxc("swept")]);

    assert_eq!(database.delete("swept", owner(), END).await, DeleteOutcome::AlreadyDeleted);
    assert_eq!(database.delete("swept", other(), END).await, DeleteOutcome::Refused);
}

#[tokio::test]
async fn only_what_has_ended_is_ended_and_only_so_much_at_once() {
    let database = Database::new().await;
    let ending = |id: &str, expires_at| {
        let lifetime = NewLifetime::Ephemeral { expires_at, quota: Quota::UNLIMITED };
        InsertMedia { lifetime, ..ephemeral(id, inline(b"hello")) }
    };
    for (id, end) in [("first", 10), ("second", 20), ("third", 21)] {
        database.insert(ending(id, Timestamp(end))).await;
    }
    database.insert(ending("never", Timestamp::NEVER)).await;
    database.insert(kept("kept", inline(b"hello"))).await;
    let end = async |limit| database.records.end_media(Timestamp(20), limit).await.unwrap();

    assert_eq!(end(1).await, [mxc("first")]);
    assert_eq!(end(100).await, [mxc("second")]);
    assert_eq!(end(100).await, []);

    for id in ["third", "never", "kept"] {
        assert!(database.is_there(id).await, "{id}");
    }
    assert_eq!(database.records.usage(&alice()).await.unwrap(), Usage { bytes: 15, media: 3 });
}

#[tokio::test]
async fn copies_end_in_time_however_often_they_are_used() {
    let database = Database::new().await;
    let copy = |id: &str, blob, lifetime| InsertRemote {
        key: RemoteKey { mxc: Mxc::from_parts("far.example", id).unwrap(), response: RemoteResponse::Original },
        blob,
        content_type: b"text/plain".to_vec(),
        filename: None,
        fetched_at: Timestamp(1),
        lifetime,
        audience: Audience::Everyone,
        source: RemoteSource::Origin,
    };
    let (blob, location) = in_a_file(b"large");
    let ephemeral = copy("one", blob, Lifetime::Ephemeral { expires_at: Timestamp(END) });
    let kept = copy("two", inline(b"hello"), Lifetime::Kept);
    for copy in [&ephemeral, &kept] {
        database.records.insert_remote(copy.clone()).await.unwrap();
    }
    database.records.touch_remote(vec![(ephemeral.key.clone(), Timestamp(END - 1))]).await.unwrap();
    let end = async |by| database.records.end_remote(Timestamp(by), Timestamp(NOW), 100).await.unwrap();

    assert_eq!(end(END - 1).await, []);
    assert_eq!(end(END).await, std::slice::from_ref(&ephemeral.key));

    assert_eq!(database.records.find_remote(&ephemeral.key).await.unwrap(), None);
    assert!(database.records.find_remote(&kept.key).await.unwrap().is_some());
    assert_eq!(database.removals().await, [location]);
    assert_eq!(database.records.remote_usage().await.unwrap().bytes, 5);
}

sqlite_only! {
mod in_the_file {
    use super::*;

    #[tokio::test]
    async fn the_bytes_of_small_media_leave_the_database_and_its_log() {
        let database = Database::new().await;
        let secret = b"the bytes that nobody is to find on the disk any more";
        database.insert(ephemeral("one", inline(secret))).await;
        let on_disk = || {
            ["records.db", "records.db-wal"].into_iter().any(|name| {
                let bytes = std::fs::read(database.folder.file().with_file_name(name)).unwrap_or_default();
                bytes.windows(secret.len()).any(|window| window == secret)
            })
        };
        assert!(on_disk());

        database.delete("one", owner(), NOW).await;
        assert!(database.records.checkpoint().await.unwrap());

        assert!(!on_disk());
        assert_eq!(database.removals().await, []);
    }
}
}
