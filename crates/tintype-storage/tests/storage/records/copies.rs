//! Copies of media, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use tintype_domain::{Audience, ContentHash, Lifetime, Mxc, OsRandomness, OwnedUserId, Timestamp, UserId};
use tintype_storage::{
    blobs::Location,
    records::{
        Body, CopyMedia, CopyOutcome, DeleteMedia, Deleter, InsertMedia, InsertOutcome, InsertRemote, NewAudience,
        NewBlob, NewLifetime, Quota, Records, RemoteKey, RemoteResponse, RemoteSource, Usage,
    },
};

use super::support::{self, Home};

const BYTES: &[u8] = b"the bytes";

struct Database {
    records: Records,
    folder: Home,
}

impl Database {
    async fn new() -> Self {
        let (records, folder) = support::records().await;
        Self { records, folder }
    }

    async fn insert(&self, mxc: &Mxc, audience: NewAudience, lifetime: NewLifetime) {
        let media = InsertMedia {
            mxc: mxc.clone(),
            blob: blob(),
            content_type: b"text/x-odd; \xff".to_vec(),
            filename: Some("grüße.txt".to_owned()),
            uploader: alice(),
            created_at: Timestamp(1),
            quota: Quota::UNLIMITED,
            lifetime,
            audience,
        };
        assert_eq!(self.records.insert_media(media).await.unwrap(), InsertOutcome::Inserted);
    }

    async fn insert_remote(&self, mxc: &Mxc, audience: Audience, lifetime: Lifetime) {
        let response = InsertRemote {
            key: RemoteKey { mxc: mxc.clone(), response: RemoteResponse::Original },
            blob: blob(),
            content_type: b"image/png".to_vec(),
            filename: None,
            fetched_at: Timestamp(1),
            lifetime,
            audience,
            source: RemoteSource::Origin,
        };
        self.records.insert_remote(response).await.unwrap();
    }

    async fn copy(&self, copy: CopyMedia) -> CopyOutcome {
        self.records.copy_media(copy).await.unwrap()
    }

    async fn statement(&self, sql: &'static str) {
        self.folder.run(sql.to_owned()).await;
    }
}

fn ours() -> Mxc {
    Mxc::from_parts("example.org", "source").unwrap()
}

fn theirs() -> Mxc {
    Mxc::from_parts("far.example", "source").unwrap()
}

fn new() -> Mxc {
    Mxc::from_parts("example.org", "copy").unwrap()
}

fn alice() -> OwnedUserId {
    UserId::parse("@alice:example.org").unwrap()
}

fn bob() -> OwnedUserId {
    UserId::parse("@bob:example.org").unwrap()
}

fn blob() -> NewBlob {
    let sha256 = ContentHash::of(BYTES);
    NewBlob { sha256, size: BYTES.len() as u64, body: Body::At(Location::new(sha256, &OsRandomness)) }
}

fn copy(source: Mxc, audience: Audience) -> CopyMedia {
    CopyMedia {
        source,
        sha256: ContentHash::of(BYTES),
        audience,
        mxc: new(),
        uploader: bob(),
        created_at: Timestamp(2),
        unattached_until: Timestamp(1_000),
        quota: Quota::UNLIMITED,
    }
}

fn copied() -> CopyOutcome {
    CopyOutcome::Copied { size: BYTES.len() as u64 }
}

#[tokio::test]
async fn a_copy_has_the_bytes_the_type_and_the_name_of_its_source_and_another_owner() {
    let database = Database::new().await;
    database.insert(&ours(), NewAudience::Everyone, NewLifetime::Kept).await;

    assert_eq!(database.copy(copy(ours(), Audience::Everyone)).await, copied());

    let source = database.records.find_media(&ours()).await.unwrap().unwrap();
    let copy = database.records.find_media(&new()).await.unwrap().unwrap();
    assert_eq!(copy.body, source.body);
    assert_eq!(copy.record.content_type, source.record.content_type);
    assert_eq!(copy.record.filename, source.record.filename);
    assert_eq!((copy.record.uploader, copy.record.created_at), (Some(bob()), Timestamp(2)));
    assert_eq!(copy.record.audience, Audience::Uploader);
    let usage = database.records.usage(&bob()).await.unwrap();
    assert_eq!(usage, Usage { bytes: BYTES.len() as u64, media: 1 });
}

#[tokio::test]
async fn a_copy_of_what_is_kept_of_another_server_stays_when_that_goes() {
    let database = Database::new().await;
    database.insert_remote(&theirs(), Audience::Everyone, Lifetime::Kept).await;
    assert_eq!(database.copy(copy(theirs(), Audience::Everyone)).await, copied());

    database.records.forget_remote(theirs(), Timestamp(3)).await.unwrap();

    assert!(database.records.find_media(&new()).await.unwrap().is_some());
    assert_eq!(database.records.removals(10).await.unwrap(), []);
}

#[tokio::test]
async fn the_bytes_go_with_the_last_of_both() {
    let database = Database::new().await;
    let until = NewAudience::Uploader { unattached_until: Timestamp(100) };
    database.insert(&ours(), until, NewLifetime::Kept).await;
    assert_eq!(database.copy(copy(ours(), Audience::Uploader)).await, copied());

    database.records.end_unattached(Timestamp(100), 10).await.unwrap();
    assert_eq!(database.records.removals(10).await.unwrap(), []);
    database.records.end_unattached(Timestamp(1_000), 10).await.unwrap();

    assert_eq!(database.records.removals(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_changed_since_it_was_judged_is_not_copied() {
    let database = Database::new().await;
    let until = NewAudience::Uploader { unattached_until: Timestamp::NEVER };
    database.insert(&ours(), until, NewLifetime::Kept).await;
    database.insert_remote(&theirs(), Audience::Nobody, Lifetime::Kept).await;
    let event = || Audience::Event("$event".try_into().unwrap());

    let cases = [
        copy(Mxc::from_parts("example.org", "nothing").unwrap(), Audience::Everyone),
        copy(Mxc::from_parts("far.example", "nothing").unwrap(), Audience::Everyone),
        copy(ours(), Audience::Everyone),
        copy(ours(), event()),
        copy(theirs(), Audience::Everyone),
        CopyMedia { sha256: ContentHash::of(b"others"), ..copy(ours(), Audience::Uploader) },
    ];
    for case in cases {
        let text = format!("{case:?}");
        assert_eq!(database.copy(case).await, CopyOutcome::Changed, "{text}");
    }
    assert_eq!(database.records.find_media(&new()).await.unwrap(), None);
    assert_eq!(database.records.usage(&bob()).await.unwrap(), Usage::default());
}

#[tokio::test]
async fn what_is_ephemeral_or_redacted_is_not_copied() {
    let database = Database::new().await;
    let lifetime = NewLifetime::Ephemeral { expires_at: Timestamp::NEVER, quota: Quota::UNLIMITED };
    database.insert(&ours(), NewAudience::Everyone, lifetime).await;
    let ephemeral = Lifetime::Ephemeral { expires_at: Timestamp::NEVER };
    database.insert_remote(&theirs(), Audience::Everyone, ephemeral).await;
    let redacted = Mxc::from_parts("far.example", "redacted").unwrap();
    let event = || Audience::Event("$event".try_into().unwrap());
    database.insert_remote(&redacted, event(), Lifetime::Kept).await;
    database.statement("INSERT INTO linked_events (event_id, redacted_at) VALUES ('$event', 1)").await;

    for case in [copy(ours(), Audience::Everyone), copy(theirs(), Audience::Everyone), copy(redacted, event())] {
        let text = format!("{case:?}");
        assert_eq!(database.copy(case).await, CopyOutcome::Changed, "{text}");
    }
}

#[tokio::test]
async fn a_copy_counts_for_its_owners_quota() {
    let database = Database::new().await;
    database.insert(&ours(), NewAudience::Everyone, NewLifetime::Kept).await;
    let length = BYTES.len() as u64;
    let with = |bytes, media| CopyMedia { quota: Quota { bytes, media }, ..copy(ours(), Audience::Everyone) };

    assert_eq!(database.copy(with(length - 1, 10)).await, CopyOutcome::OverQuota);
    assert_eq!(database.copy(with(length, 0)).await, CopyOutcome::OverQuota);
    assert_eq!(database.records.find_media(&new()).await.unwrap(), None);

    assert_eq!(database.copy(with(length, 1)).await, copied());
    let another = CopyMedia { mxc: Mxc::from_parts("example.org", "another").unwrap(), ..with(2 * length, 1) };
    assert_eq!(database.copy(another.clone()).await, CopyOutcome::OverQuota);
    assert_eq!(database.copy(CopyMedia { quota: Quota { media: 2, ..another.quota }, ..another }).await, copied());
}

#[tokio::test]
async fn deleting_a_copy_leaves_its_source() {
    let database = Database::new().await;
    database.insert(&ours(), NewAudience::Everyone, NewLifetime::Kept).await;
    database.copy(copy(ours(), Audience::Everyone)).await;
    let delete = DeleteMedia { mxc: new(), deleter: Deleter::Admin, now: Timestamp(3) };
    // Only ephemeral media can be deleted by its owner, and no copy is.
    database.records.delete_media(delete).await.unwrap();

    database.records.end_unattached(Timestamp(1_000), 10).await.unwrap();

    assert!(database.records.find_media(&new()).await.unwrap().is_none());
    assert!(database.records.find_media(&ours()).await.unwrap().is_some());
    assert_eq!(database.records.removals(10).await.unwrap(), []);
}
