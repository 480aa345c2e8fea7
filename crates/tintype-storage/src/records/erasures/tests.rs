use bytes::Bytes;
use tintype_domain::{ContentHash, Mxc};

use super::*;
use crate::records::{
    Body, InsertMedia, InsertReservation, MediaKind, NewAudience, NewBlob, NewLifetime, Quota, ReserveOutcome,
};

const NOW: Timestamp = Timestamp(1_000);

struct Database {
    records: Records,
    _home: engine::Home,
}

impl Database {
    async fn new() -> Self {
        let (records, home) = engine::records().await;
        Self { records, _home: home }
    }

    async fn insert(&self, id: &str, name: &str, body: &'static [u8], lifetime: NewLifetime, audience: NewAudience) {
        let media = InsertMedia {
            mxc: mxc(id),
            blob: NewBlob {
                sha256: ContentHash::of(body),
                size: body.len() as u64,
                body: Body::Inline(Bytes::from_static(body)),
            },
            content_type: b"text/plain".to_vec(),
            filename: None,
            uploader: user(name),
            created_at: Timestamp(1),
            quota: Quota::UNLIMITED,
            lifetime,
            audience,
        };
        self.records.insert_media(media).await.unwrap();
    }

    async fn upload(&self, id: &str, name: &str, body: &'static [u8]) {
        self.insert(id, name, body, NewLifetime::Kept, NewAudience::Everyone).await;
    }

    async fn request(&self) {
        self.records.request_erasure(user("alice"), NOW).await.unwrap();
    }

    async fn step(&self, limit: u32) -> Removed {
        self.records.erase(user("alice"), NOW, limit).await.unwrap()
    }

    async fn report(&self) -> Erasure {
        self.records.find_erasure(&user("alice")).await.unwrap().expect("it was asked for")
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:example.org")).unwrap()
}

#[tokio::test]
async fn everything_of_the_user_goes_and_is_counted_and_nothing_of_others() {
    let database = Database::new().await;
    let ephemeral = NewLifetime::Ephemeral { expires_at: Timestamp(9_000), quota: Quota::UNLIMITED };
    let restricted = NewAudience::Uploader { unattached_until: Timestamp::NEVER };
    database.upload("one", "alice", b"hello").await;
    database.insert("two", "alice", b"for a moment", ephemeral, NewAudience::Everyone).await;
    database.insert("three", "alice", b"for some", NewLifetime::Kept, restricted).await;
    database.upload("theirs", "bob", b"hello").await;
    let reservation = InsertReservation {
        mxc: mxc("reserved"),
        creator: user("alice"),
        created_at: NOW,
        expires_at: Timestamp::NEVER,
        max_pending: 10,
        kind: MediaKind::Kept,
    };
    assert_eq!(database.records.reserve(reservation).await.unwrap(), ReserveOutcome::Reserved);
    database.request().await;
    assert_eq!(database.records.erasures_due().await.unwrap(), [user("alice")]);

    let removed = database.step(100).await;

    assert_eq!((removed.media.len(), removed.more), (4, false));
    let expected = Erasure {
        finished_at: Some(NOW),
        media: 3,
        bytes: 25,
        ephemeral: 1,
        restricted: 1,
        reserved: 1,
        shared: 1,
        shared_bytes: 5,
    };
    assert_eq!(database.report().await, expected);
    for id in ["one", "two", "three"] {
        assert_eq!(database.records.find_media(&mxc(id)).await.unwrap(), None, "{id}");
    }
    assert_eq!(database.records.find_reservation(&mxc("reserved")).await.unwrap(), None);
    assert_eq!(database.records.find_link(&mxc("three")).await.unwrap(), None);
    assert!(database.records.find_media(&mxc("theirs")).await.unwrap().is_some());
    assert_eq!(database.records.usage(&user("alice")).await.unwrap().media, 0);
    assert!(database.records.erasures_due().await.unwrap().is_empty());
}

#[tokio::test]
async fn it_goes_in_steps_and_goes_on_after_an_interruption() {
    let database = Database::new().await;
    for (id, body) in [("a", &b"1"[..]), ("b", b"22"), ("c", b"333"), ("d", b"333"), ("e", b"55555")] {
        database.upload(id, "alice", body).await;
    }
    database.request().await;

    assert!(database.step(2).await.more);
    assert_eq!((database.report().await.media, database.report().await.finished_at), (2, None));
    // Asked for again while it is under way: it goes on.
    database.request().await;
    assert!(database.step(2).await.more);
    assert!(!database.step(2).await.more);

    let report = database.report().await;
    assert_eq!((report.media, report.bytes, report.shared), (5, 14, 0));
    assert_eq!(report.finished_at, Some(NOW));
}
