//! Restricted media that nobody attached, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use bytes::Bytes;
use tintype_domain::{Audience, ContentHash, Mxc, OwnedUserId, Timestamp, UserId};
use tintype_storage::records::{
    Body, Claim, ClaimPartial, Fulfil, InsertMedia, InsertOutcome, InsertReservation, MediaKind, NewAudience, NewBlob,
    NewLifetime, Quota, Records, RemoveOutcome, ReserveOutcome, Unattached, Usage,
};

use super::support::{self, Home};

struct Database {
    records: Records,
    folder: Home,
}

impl Database {
    async fn new() -> Self {
        let (records, folder) = support::records().await;
        Self { records, folder }
    }

    async fn upload(&self, id: &str, unattached_until: Timestamp) {
        let outcome = self.records.insert_media(media(id, NewAudience::Uploader { unattached_until })).await.unwrap();
        assert_ne!(outcome, InsertOutcome::OverQuota);
    }

    async fn reserve(&self, id: &str, expires_at: i64, unattached_until: Timestamp) {
        let reservation = InsertReservation {
            mxc: mxc(id),
            creator: alice(),
            created_at: Timestamp(0),
            expires_at: Timestamp(expires_at),
            max_pending: 100,
            kind: MediaKind::Restricted { unattached_until },
        };
        assert_eq!(self.records.reserve(reservation).await.unwrap(), ReserveOutcome::Reserved);
    }

    async fn fulfil(&self, id: &str, unattached_until: Timestamp) {
        let claim = Claim { mxc: mxc(id), user: alice(), now: Timestamp(1), holder: 7, partial: ClaimPartial::Keep };
        self.records.claim(claim).await.unwrap();
        let media = media(id, NewAudience::Uploader { unattached_until });
        self.records.fulfil(Fulfil { holder: 7, media }).await.unwrap().unwrap();
    }

    /// Makes the media be in this state, as the statements that attach it do.
    async fn is(&self, id: &str, state: &str, event_id: Option<&str>) {
        let event_id = event_id.map_or("NULL".to_owned(), |event_id| format!("'{event_id}'"));
        let set = format!("state = '{state}', event_id = {event_id}, attachment_id = 1");
        self.folder.run(format!("UPDATE linked_media SET {set} WHERE media_id = '{id}'")).await;
    }

    async fn ended(&self, now: i64) -> Vec<String> {
        let ended = self.records.end_unattached(Timestamp(now), 100).await.unwrap();
        ended.into_iter().map(|Unattached { mxc, .. }| mxc.media_id.to_string()).collect()
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

fn alice() -> OwnedUserId {
    UserId::parse("@alice:example.org").unwrap()
}

fn media(id: &str, audience: NewAudience) -> InsertMedia {
    let body = b"hello";
    InsertMedia {
        mxc: mxc(id),
        blob: NewBlob { sha256: ContentHash::of(body), size: 5, body: Body::Inline(Bytes::from_static(body)) },
        content_type: b"text/plain".to_vec(),
        filename: None,
        uploader: alice(),
        created_at: Timestamp(0),
        quota: Quota::UNLIMITED,
        lifetime: NewLifetime::Kept,
        audience,
    }
}

#[tokio::test]
async fn it_goes_when_its_time_has_come_and_not_before() {
    let database = Database::new().await;
    database.upload("one", Timestamp(100)).await;
    assert_eq!(database.ended(99).await, [""; 0]);

    let ended = database.records.end_unattached(Timestamp(100), 100).await.unwrap();

    assert_eq!(ended, [Unattached { mxc: mxc("one"), removed: RemoveOutcome::Removed { size: 5 } }]);
    assert_eq!(database.records.find_media(&mxc("one")).await.unwrap(), None);
    assert_eq!(database.records.find_link(&mxc("one")).await.unwrap(), None);
    assert_eq!(database.records.usage(&alice()).await.unwrap(), Usage::default());
    assert_eq!(database.ended(100).await, [""; 0]);
}

#[tokio::test]
async fn what_is_for_everybody_or_never_swept_stays() {
    let database = Database::new().await;
    database.records.insert_media(media("plain", NewAudience::Everyone)).await.unwrap();
    database.upload("never", Timestamp::NEVER).await;

    assert_eq!(database.ended(i64::MAX - 1).await, [""; 0]);
}

#[tokio::test]
async fn what_is_attached_or_being_attached_stays_however_old_it_is() {
    let database = Database::new().await;
    for id in ["attaching", "attached", "unattached"] {
        database.upload(id, Timestamp(100)).await;
    }
    database.is("attaching", "attaching", None).await;
    database.is("attached", "attached", Some("$event")).await;

    assert_eq!(database.ended(1_000_000).await, ["unattached"]);

    let audience = async |id| database.records.find_media(&mxc(id)).await.unwrap().unwrap().record.audience;
    assert_eq!(audience("attaching").await, Audience::Attaching);
    assert_eq!(audience("attached").await, Audience::Event("$event".try_into().unwrap()));
}

#[tokio::test]
async fn so_many_go_at_once_the_oldest_first() {
    let database = Database::new().await;
    for (id, until) in [("third", 30), ("first", 10), ("second", 20)] {
        database.upload(id, Timestamp(until)).await;
    }

    let ended = database.records.end_unattached(Timestamp(100), 2).await.unwrap();

    let ids = ended.iter().map(|ended| ended.mxc.media_id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids, ["first", "second"]);
    assert_eq!(database.ended(100).await, ["third"]);
}

#[tokio::test]
async fn a_reserved_uri_waits_for_its_upload_until_it_expires() {
    let database = Database::new().await;
    database.reserve("one", 1_000, Timestamp(10)).await;
    assert_eq!(database.ended(999).await, [""; 0]);

    database.records.expire(Timestamp(1_000), 100).await.unwrap();
    let ended = database.records.end_unattached(Timestamp(1_000), 100).await.unwrap();

    assert_eq!(ended, [Unattached { mxc: mxc("one"), removed: RemoveOutcome::Unreserved { partial: None } }]);
    assert_eq!(database.records.find_reservation(&mxc("one")).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_uploaded_to_a_reserved_uri_has_its_time_from_the_upload_on() {
    let database = Database::new().await;
    database.reserve("one", 1_000, Timestamp(10)).await;
    database.fulfil("one", Timestamp(2_000)).await;

    let record = database.records.find_media(&mxc("one")).await.unwrap().unwrap().record;

    assert_eq!(record.audience, Audience::Uploader);
    assert_eq!(database.ended(1_999).await, [""; 0]);
    assert_eq!(database.ended(2_000).await, ["one"]);
}

#[tokio::test]
async fn an_upload_changes_nothing_of_what_was_attached_before_it() {
    let database = Database::new().await;
    database.reserve("one", 1_000, Timestamp(10)).await;
    database.is("one", "attached", Some("$event")).await;

    database.fulfil("one", Timestamp(2_000)).await;

    let record = database.records.find_media(&mxc("one")).await.unwrap().unwrap().record;
    assert_eq!(record.audience, Audience::Event("$event".try_into().unwrap()));
    assert_eq!(database.ended(i64::MAX).await, [""; 0]);
}
