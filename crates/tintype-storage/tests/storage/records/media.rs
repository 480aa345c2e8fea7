//! The records, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::sync::Arc;

use bytes::Bytes;
use tintype_domain::{ContentHash, Mxc, OsRandomness, Timestamp, UserId};
use tintype_storage::{
    blobs::Location,
    records::{
        Body, InsertMedia, InsertOutcome, InsertThumbnail, NewAudience, NewBlob, NewLifetime, Quota, Records,
        ThumbnailContent, ThumbnailKey, ThumbnailMethod, ThumbnailOutcome, TokenRecord, Usage,
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

fn media(id: &str, body: &'static [u8]) -> InsertMedia {
    InsertMedia {
        mxc: Mxc::from_parts("example.org", id).unwrap(),
        blob: NewBlob {
            sha256: ContentHash::of(body),
            size: body.len() as u64,
            body: Body::Inline(Bytes::from_static(body)),
        },
        content_type: b"text/plain; \xff".to_vec(),
        filename: Some("grüße.txt".to_owned()),
        uploader: UserId::parse("@alice:example.org").unwrap(),
        created_at: Timestamp(1_000),
        quota: Quota::UNLIMITED,
        lifetime: NewLifetime::Kept,
        audience: NewAudience::Everyone,
    }
}

#[tokio::test]
async fn what_was_inserted_is_found_unchanged_after_a_restart() {
    let Database { records, folder } = database().await;
    let inserted = media("one", b"hello");
    assert_eq!(records.insert_media(inserted.clone()).await.unwrap(), InsertOutcome::Inserted);
    records.close().await;

    let records = folder.open().await;
    let found = records.find_media(&inserted.mxc).await.unwrap().unwrap();

    assert_eq!(found.body, inserted.blob.body);
    assert_eq!(found.record.content_type, inserted.content_type);
    assert_eq!(found.record.filename, inserted.filename);
    assert_eq!(found.record.uploader, Some(inserted.uploader));
    assert_eq!(found.record.sha256, inserted.blob.sha256);
    assert_eq!((found.record.size, found.record.created_at), (5, Timestamp(1_000)));
    assert_eq!(records.find_media(&Mxc::from_parts("example.org", "two").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn the_same_bytes_are_kept_once() {
    let Database { records, folder: _folder } = database().await;
    records.insert_media(media("one", b"hello")).await.unwrap();

    let second = records.insert_media(media("two", b"hello")).await.unwrap();

    assert_eq!(second, InsertOutcome::Deduplicated);
    let found = records.find_media(&Mxc::from_parts("example.org", "two").unwrap()).await.unwrap().unwrap();
    assert_eq!(found.body, Body::Inline(Bytes::from_static(b"hello")));
}

#[tokio::test]
async fn of_two_locations_for_the_same_bytes_the_first_one_stays() {
    let Database { records, folder: _folder } = database().await;
    let hash = ContentHash::of(b"large");
    let (first, second) = (Location::new(hash, &OsRandomness), Location::new(hash, &OsRandomness));
    let at = |id: &str, location: &Location| {
        let mut media = media(id, b"large");
        media.blob.body = Body::At(location.clone());
        media
    };
    records.insert_media(at("one", &first)).await.unwrap();

    let outcome = records.insert_media(at("two", &second)).await.unwrap();

    assert_eq!(outcome, InsertOutcome::Deduplicated);
    assert!(records.is_recorded(&first).await.unwrap());
    assert!(!records.is_recorded(&second).await.unwrap());
}

#[tokio::test]
async fn a_quota_refuses_what_goes_beyond_it_and_records_nothing() {
    let Database { records, folder: _folder } = database().await;
    let with = |id: &str, quota| InsertMedia { quota, ..media(id, b"12345") };
    let bytes = |bytes| Quota { bytes, media: u64::MAX };
    let user = UserId::parse("@alice:example.org").unwrap();

    assert_eq!(records.insert_media(with("a", bytes(4))).await.unwrap(), InsertOutcome::OverQuota);
    assert_eq!(records.usage(&user).await.unwrap(), Usage::default());
    assert_eq!(records.insert_media(with("a", bytes(10))).await.unwrap(), InsertOutcome::Inserted);
    assert_eq!(records.insert_media(with("b", bytes(10))).await.unwrap(), InsertOutcome::Deduplicated);
    assert_eq!(records.insert_media(with("c", bytes(14))).await.unwrap(), InsertOutcome::OverQuota);
    let two = Quota { bytes: u64::MAX, media: 2 };
    assert_eq!(records.insert_media(with("c", two)).await.unwrap(), InsertOutcome::OverQuota);

    assert_eq!(records.usage(&user).await.unwrap(), Usage { bytes: 10, media: 2 });
    assert_eq!(records.find_media(&Mxc::from_parts("example.org", "c").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn of_many_uploads_at_once_just_as_many_as_the_quota_allows_succeed() {
    let Database { records, folder: _folder } = database().await;
    let quota = Quota { bytes: 50, media: u64::MAX };
    let uploads = (0..100).map(|n| {
        let (records, media) = (records.clone(), InsertMedia { quota, ..media(&format!("m{n}"), b"12345") });
        tokio::spawn(async move { records.insert_media(media).await.unwrap() })
    });

    let mut accepted = 0;
    for upload in uploads.collect::<Vec<_>>() {
        accepted += u32::from(upload.await.unwrap() != InsertOutcome::OverQuota);
    }

    assert_eq!(accepted, 10);
}

#[tokio::test]
async fn one_statement_that_fails_takes_no_other_with_it() {
    let Database { records, folder: _folder } = database().await;
    records.insert_media(media("taken", b"first")).await.unwrap();
    let ids = ["a", "b", "taken", "c", "d"];
    let inserts = ids.map(|id| {
        let (records, media) = (records.clone(), media(id, b"other"));
        tokio::spawn(async move { records.insert_media(media).await.is_ok() })
    });

    let mut outcomes = Vec::new();
    for insert in inserts {
        outcomes.push(insert.await.unwrap());
    }

    assert_eq!(outcomes, [true, true, false, true, true]);
    let user = UserId::parse("@alice:example.org").unwrap();
    assert_eq!(records.usage(&user).await.unwrap(), Usage { bytes: 25, media: 5 });
    let taken = records.find_media(&Mxc::from_parts("example.org", "taken").unwrap()).await.unwrap().unwrap();
    assert_eq!(taken.body, Body::Inline(Bytes::from_static(b"first")));
}

#[tokio::test]
async fn another_process_that_writes_meets_no_lock_error() {
    let Database { records, folder } = database().await;
    let other = folder.open().await;
    let write = |records: Records, prefix: &'static str| {
        tokio::spawn(async move {
            for n in 0..100 {
                records.insert_media(media(&format!("{prefix}{n}"), b"x")).await.unwrap();
            }
        })
    };

    let (ours, theirs) = (write(records.clone(), "ours"), write(other, "theirs"));

    ours.await.unwrap();
    theirs.await.unwrap();
    let user = UserId::parse("@alice:example.org").unwrap();
    assert_eq!(records.usage(&user).await.unwrap().media, 200);
}

#[tokio::test]
async fn a_thumbnail_is_kept_once_and_only_so_many_sizes_of_it() {
    let Database { records, folder: _folder } = database().await;
    let original = media("one", b"hello");
    records.insert_media(original.clone()).await.unwrap();
    let thumbnail = |width| InsertThumbnail {
        key: ThumbnailKey { mxc: original.mxc.clone(), width, height: 32, method: ThumbnailMethod::Crop },
        content_type: "image/png",
        blob: Some(NewBlob {
            sha256: ContentHash::of(&[u8::try_from(width).unwrap()]),
            size: 1,
            body: Body::Inline(Bytes::from(vec![u8::try_from(width).unwrap()])),
        }),
        created_at: Timestamp(2_000),
        max_sizes: 2,
    };

    let outcomes = [
        records.insert_thumbnail(thumbnail(1)).await.unwrap(),
        records.insert_thumbnail(thumbnail(1)).await.unwrap(),
        records.insert_thumbnail(InsertThumbnail { blob: None, ..thumbnail(2) }).await.unwrap(),
        records.insert_thumbnail(thumbnail(3)).await.unwrap(),
    ];

    let expected = [
        ThumbnailOutcome::Inserted,
        ThumbnailOutcome::NotNeeded,
        ThumbnailOutcome::Inserted,
        ThumbnailOutcome::NotNeeded,
    ];
    assert_eq!(outcomes, expected);
    let found = records.find_thumbnail(&thumbnail(1).key).await.unwrap().unwrap();
    assert_eq!(found.content_type, "image/png");
    assert!(matches!(found.content, ThumbnailContent::Own(_, Body::Inline(body)) if body == [1][..]));
    let original = records.find_thumbnail(&thumbnail(2).key).await.unwrap().unwrap();
    assert_eq!(original.content, ThumbnailContent::Original);
    assert_eq!(records.find_thumbnail(&thumbnail(3).key).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_alone() {
    let Database { records, folder: _folder } = database().await;
    let token_sha256 = ContentHash::of(b"secret-token");
    records
        .insert_token(TokenRecord {
            token_sha256,
            user_id: UserId::parse("@alice:example.org").unwrap(),
            device_id: "DEVICE".to_owned(),
            guest: true,
            admin: false,
            created_at: Timestamp(1),
        })
        .await
        .unwrap();

    let user = records.find_user_of_token(&token_sha256).await.unwrap().unwrap();

    assert_eq!((user.user_id.as_str(), user.guest, user.admin), ("@alice:example.org", true, false));
    assert_eq!(records.find_user_of_token(&ContentHash::of(b"other")).await.unwrap(), None);
}

#[tokio::test]
async fn the_first_start_is_remembered() {
    let Database { records, folder: _folder } = database().await;

    assert_eq!(records.first_start(Timestamp(5)).await.unwrap(), Timestamp(5));
    assert_eq!(records.first_start(Timestamp(9)).await.unwrap(), Timestamp(5));
}

#[tokio::test]
async fn a_write_after_the_database_closed_is_refused() {
    let Database { records, folder: _folder } = database().await;
    let records = Arc::new(records);
    records.close().await;

    assert!(records.insert_media(media("late", b"x")).await.is_err());
}

sqlite_only! {
mod in_one_file {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn no_token_is_in_the_file() {
        let Database { records, folder } = database().await;
        let token = TokenRecord {
            token_sha256: ContentHash::of(b"secret-token"),
            user_id: UserId::parse("@alice:example.org").unwrap(),
            device_id: "DEVICE".to_owned(),
            guest: true,
            admin: false,
            created_at: Timestamp(1),
        };
        records.insert_token(token).await.unwrap();

        records.close().await;

        let on_disk = std::fs::read(folder.file()).unwrap();
        assert!(on_disk.windows(6).any(|window| window == b"DEVICE"));
        assert!(!on_disk.windows(12).any(|window| window == b"secret-token"));
    }

    #[tokio::test]
    async fn processes_that_start_together_on_an_empty_folder_migrate_it_once() {
        for _ in 0..30 {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("records.db");

            let started = join_all((0..4).map(|_| Records::open_sqlite(&path))).await;

            for records in started {
                records.unwrap().close().await;
            }
        }
    }
}
}
