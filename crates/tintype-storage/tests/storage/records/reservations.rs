//! Reservations, on a real database.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use bytes::Bytes;
use tintype_domain::{ContentHash, Mxc, OsRandomness, OwnedUserId, Timestamp, UserId};
use tintype_storage::{
    blobs::PartialName,
    records::{
        Body, Claim, ClaimOutcome, ClaimPartial, Expired, Fulfil, InsertMedia, InsertOutcome, InsertReservation,
        MediaKind, NewAudience, NewBlob, NewLifetime, Partial, Quota, Records, Release, ReleaseOutcome, ReleasePartial,
        ReserveOutcome,
    },
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

    async fn reserve(&self, id: &str, expires_at: i64) {
        let outcome = self.records.reserve(reservation("@alice:example.org", id, 0, expires_at, 1_000)).await.unwrap();
        assert_eq!(outcome, ReserveOutcome::Reserved);
    }

    async fn claim(&self, id: &str, now: i64, holder: i64) -> ClaimOutcome {
        self.records.claim(claim(id, now, holder, ClaimPartial::Keep)).await.unwrap()
    }

    async fn release(&self, id: &str, holder: i64, partial: Option<Partial>) -> ReleaseOutcome {
        self.records.release(Release { mxc: mxc(id), holder, partial: ReleasePartial::Set(partial) }).await.unwrap()
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("example.org", id).unwrap()
}

fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

fn reservation(creator: &str, id: &str, now: i64, expires_at: i64, max_pending: u64) -> InsertReservation {
    InsertReservation {
        mxc: mxc(id),
        creator: user(creator),
        created_at: Timestamp(now),
        expires_at: Timestamp(expires_at),
        max_pending,
        kind: MediaKind::Kept,
    }
}

fn claim(id: &str, now: i64, holder: i64, partial: ClaimPartial) -> Claim {
    Claim { mxc: mxc(id), user: user("@alice:example.org"), now: Timestamp(now), holder, partial }
}

fn partial(size: u64) -> Partial {
    Partial {
        name: PartialName::random(&OsRandomness),
        size,
        length: Some(100),
        content_type: b"image/png; \xff".to_vec(),
        filename: Some("grüße.png".to_owned()),
    }
}

fn fulfil(id: &str, holder: i64, quota: Quota) -> Fulfil {
    let body = b"hello";
    let media = InsertMedia {
        mxc: mxc(id),
        blob: NewBlob { sha256: ContentHash::of(body), size: 5, body: Body::Inline(Bytes::from_static(body)) },
        content_type: b"text/plain".to_vec(),
        filename: None,
        uploader: user("@alice:example.org"),
        created_at: Timestamp(0),
        quota,
        lifetime: NewLifetime::Kept,
        audience: NewAudience::Everyone,
    };
    Fulfil { holder, media }
}

fn is_claimed(outcome: &ClaimOutcome) -> bool {
    matches!(outcome, ClaimOutcome::Claimed(_))
}

#[tokio::test]
async fn a_creator_has_only_so_many_open_ones() {
    let database = Database::new().await;
    let reserve = async |creator, id, now, expires_at| {
        database.records.reserve(reservation(creator, id, now, expires_at, 2)).await.unwrap()
    };
    assert_eq!(reserve("@alice:example.org", "one", 0, 100).await, ReserveOutcome::Reserved);
    assert_eq!(reserve("@alice:example.org", "two", 0, 200).await, ReserveOutcome::Reserved);

    let refused = reserve("@alice:example.org", "three", 50, 300).await;

    assert_eq!(refused, ReserveOutcome::TooManyPending { next_expiry: Timestamp(100) });
    assert_eq!(database.records.find_reservation(&mxc("three")).await.unwrap(), None);
    assert_eq!(reserve("@bob:example.org", "three", 50, 300).await, ReserveOutcome::Reserved);
    assert_eq!(reserve("@alice:example.org", "four", 100, 300).await, ReserveOutcome::Reserved);
}

#[tokio::test]
async fn of_many_requests_at_once_one_gets_the_reservation() {
    let database = Database::new().await;
    for round in 0..20 {
        let id = format!("id-{round}");
        database.reserve(&id, 100).await;

        let claims = (1..=20).map(|holder| database.claim(&id, 0, holder));
        let outcomes = futures_util::future::join_all(claims).await;

        assert_eq!(outcomes.iter().filter(|outcome| is_claimed(outcome)).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Held).count(), 19);
    }
}

#[tokio::test]
async fn who_does_not_hold_a_reservation_changes_nothing() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));

    let released = database.release("one", 2, Some(partial(7))).await;
    let fulfilled = database.records.fulfil(fulfil("one", 2, Quota::UNLIMITED)).await.unwrap();

    assert_eq!((released, fulfilled), (ReleaseOutcome::Lost, None));
    let found = database.records.find_reservation(&mxc("one")).await.unwrap().unwrap();
    assert!(found.held && found.partial.is_none());
    assert_eq!(database.records.find_media(&mxc("one")).await.unwrap(), None);
    assert_eq!(database.records.usage(&user("@alice:example.org")).await.unwrap().media, 0);
}

#[tokio::test]
async fn who_did_not_hear_that_a_reservation_was_given_back_may_do_so_again() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));
    let kept = partial(7);

    let first = database.release("one", 1, Some(kept.clone())).await;
    let again = database.release("one", 1, Some(kept)).await;

    assert_eq!([first, again], [ReleaseOutcome::GivenBack; 2]);
}

#[tokio::test]
async fn an_upload_over_quota_leaves_the_reservation_to_its_holder() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));

    let refused = database.records.fulfil(fulfil("one", 1, Quota { bytes: 4, media: 10 })).await.unwrap();

    assert_eq!(refused, Some(InsertOutcome::OverQuota));
    assert_eq!(database.claim("one", 0, 2).await, ClaimOutcome::Held);
    database.release("one", 1, None).await;
    assert!(is_claimed(&database.claim("one", 0, 2).await));
}

#[tokio::test]
async fn an_upload_takes_the_place_of_its_reservation_even_after_it_expired() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 99, 1).await));
    assert_eq!(database.records.expire(Timestamp(200), 10).await.unwrap(), []);

    let fulfilled = database.records.fulfil(fulfil("one", 1, Quota::UNLIMITED)).await.unwrap();

    assert_eq!(fulfilled, Some(InsertOutcome::Inserted));
    assert_eq!(database.records.find_reservation(&mxc("one")).await.unwrap(), None);
    assert_eq!(database.records.pending().await.unwrap(), 0);
    assert_eq!(database.claim("one", 200, 2).await, ClaimOutcome::Stored { size: 5 });
}

#[tokio::test]
async fn strangers_are_told_apart_from_what_is_not_there() {
    let database = Database::new().await;
    for id in ["reserved", "held", "stored", "expired"] {
        database.reserve(id, if id == "expired" { 50 } else { 100 }).await;
    }
    assert!(is_claimed(&database.claim("held", 0, 1).await));
    assert!(is_claimed(&database.claim("stored", 0, 1).await));
    database.records.fulfil(fulfil("stored", 1, Quota::UNLIMITED)).await.unwrap();

    for (id, expected) in [
        ("reserved", ClaimOutcome::NotTheCreator),
        ("held", ClaimOutcome::NotTheCreator),
        ("stored", ClaimOutcome::NotTheCreator),
        ("expired", ClaimOutcome::NotFound),
        ("unknown", ClaimOutcome::NotFound),
    ] {
        let stranger = Claim { user: user("@bob:example.org"), ..claim(id, 50, 9, ClaimPartial::Keep) };
        assert_eq!(database.records.claim(stranger).await.unwrap(), expected, "{id}");
    }
}

#[tokio::test]
async fn what_is_kept_of_an_upload_is_there_for_the_next_request_and_after_a_restart() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));
    let kept = partial(7);

    database.release("one", 1, Some(kept.clone())).await;
    database.records.close().await;

    let records = database.folder.open().await;
    assert_eq!(records.partials().await.unwrap(), [(kept.name.clone(), 7)]);
    let outcome = records.claim(claim("one", 0, 2, ClaimPartial::Keep)).await.unwrap();
    let ClaimOutcome::Claimed(reservation) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reservation.partial, Some(kept.clone()));
    records.forget_partial(kept.name).await.unwrap();
    assert_eq!(records.find_reservation(&mxc("one")).await.unwrap().unwrap().partial, None);
}

#[tokio::test]
async fn an_upload_in_place_of_another_is_told_what_to_remove() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));
    let (old, new) = (partial(7), partial(0));
    database.release("one", 1, Some(old.clone())).await;

    let replacing = claim("one", 0, 2, ClaimPartial::Replace(Some(new.clone())));
    let outcome = database.records.claim(replacing).await.unwrap();

    let ClaimOutcome::Claimed(reservation) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reservation.partial, Some(old));
    let found = database.records.find_reservation(&mxc("one")).await.unwrap().unwrap();
    assert!(found.held);
    assert_eq!(found.partial, Some(new));
}

#[tokio::test]
async fn who_comes_second_replaces_nothing() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    let first = partial(0);
    let taken = claim("one", 0, 1, ClaimPartial::Replace(Some(first.clone())));
    assert!(is_claimed(&database.records.claim(taken).await.unwrap()));

    let late = claim("one", 0, 2, ClaimPartial::Replace(None));
    assert_eq!(database.records.claim(late).await.unwrap(), ClaimOutcome::Held);

    assert_eq!(database.records.find_reservation(&mxc("one")).await.unwrap().unwrap().partial, Some(first));
}

#[tokio::test]
async fn what_expired_is_given_out_once_in_pieces_and_its_id_stays_used() {
    let database = Database::new().await;
    let kept = partial(7);
    for id in ["one", "two", "three"] {
        database.reserve(id, 100).await;
    }
    database.reserve("later", 101).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));
    database.release("one", 1, Some(kept.clone())).await;

    let first = database.records.expire(Timestamp(100), 2).await.unwrap();
    let second = database.records.expire(Timestamp(100), 2).await.unwrap();

    assert_eq!((first.len(), second.len()), (2, 1));
    let mut all = [first, second].concat();
    all.sort_by(|a, b| a.mxc.media_id.as_str().cmp(b.mxc.media_id.as_str()));
    let expected = [("one", Some(kept.name)), ("three", None), ("two", None)];
    assert_eq!(all, expected.map(|(id, partial)| Expired { mxc: mxc(id), partial }));
    assert_eq!(database.records.expire(Timestamp(100), 2).await.unwrap(), []);
    assert_eq!(database.records.pending().await.unwrap(), 1);
    assert_eq!(database.records.partials().await.unwrap(), []);
    let again = database.records.reserve(reservation("@bob:example.org", "one", 200, 300, 10)).await;
    assert!(again.is_err(), "{again:?}");
}

#[tokio::test]
async fn a_reservation_that_never_expires_is_never_swept() {
    let database = Database::new().await;
    database.reserve("one", Timestamp::NEVER.as_millis()).await;

    assert_eq!(database.records.expire(Timestamp(i64::MAX - 1), 10).await.unwrap(), []);

    assert!(is_claimed(&database.claim("one", i64::MAX - 1, 1).await));
}

// A request reads the clock before its claim is queued: the sweep may come in between.
#[tokio::test]
async fn a_reservation_that_was_swept_is_not_taken_by_who_looked_at_the_clock_before() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert_eq!(database.records.expire(Timestamp(100), 10).await.unwrap().len(), 1);

    assert_eq!(database.claim("one", 99, 1).await, ClaimOutcome::NotFound);
}

#[tokio::test]
async fn every_reservation_is_given_back_at_a_start() {
    let database = Database::new().await;
    let kept = partial(7);
    for id in ["one", "two"] {
        database.reserve(id, 100).await;
        assert!(is_claimed(&database.claim(id, 0, 1).await));
    }
    database.release("two", 1, Some(kept.clone())).await;
    assert!(is_claimed(&database.claim("two", 0, 2).await));

    database.records.release_all().await.unwrap();

    for (id, expected) in [("one", None), ("two", Some(kept))] {
        let found = database.records.find_reservation(&mxc(id)).await.unwrap().unwrap();
        assert!(!found.held, "{id}");
        assert_eq!(found.partial, expected, "{id}");
        assert!(is_claimed(&database.claim(id, 0, 3).await), "{id}");
    }
}

// A commit that fails may have taken effect all the same, and its statements are then tried again one by one.
#[tokio::test]
async fn a_claim_that_is_repeated_finds_itself() {
    let database = Database::new().await;
    database.reserve("one", 100).await;
    assert!(is_claimed(&database.claim("one", 0, 1).await));

    assert!(is_claimed(&database.claim("one", 0, 1).await));
}

sqlite_only! {
mod plans {
    use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

    use super::*;

    /// The statements as they are in the program, with the index that each of them has to use: there may be millions of
    /// expired reservations, which none of them may walk through.
    const PLANS: [(&str, &str); 8] = [
        (
            "SELECT COUNT(*) FROM reservations WHERE creator = ?3 AND swept = 0 AND expires_at > ?4",
            "USING COVERING INDEX open_reservations (creator=? AND expires_at>?)",
        ),
        (
            "SELECT MIN(expires_at) FROM reservations WHERE creator = ?1 AND swept = 0 AND expires_at > ?2",
            "USING COVERING INDEX open_reservations (creator=? AND expires_at>?)",
        ),
        ("SELECT COUNT(*) FROM reservations WHERE swept = 0", "_reservations"),
        (
            "SELECT server_name, media_id, partial FROM reservations
             WHERE swept = 0 AND expires_at <= ?1 AND holder IS NULL ORDER BY expires_at LIMIT ?2",
            "USING INDEX unswept_reservations (expires_at<?)",
        ),
        ("UPDATE reservations SET holder = NULL WHERE swept = 0 AND holder IS NOT NULL", "_reservations"),
        ("SELECT partial, partial_size FROM reservations WHERE partial IS NOT NULL", "partial_reservations"),
        ("UPDATE reservations SET partial = NULL WHERE partial = ?1", "USING INDEX partial_reservations (partial=?)"),
        (
            "UPDATE reservations SET holder = ?1 WHERE server_name = ?2 AND media_id = ?3 AND creator = ?4
             AND expires_at > ?5 AND holder IS NULL",
            "USING PRIMARY KEY (server_name=? AND media_id=?)",
        ),
    ];

    #[tokio::test]
    async fn no_statement_walks_through_what_has_expired() {
        let database = Database::new().await;
        let options = SqliteConnectOptions::new().filename(database.folder.file());
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        for (statement, index) in PLANS {
            let explain = format!("EXPLAIN QUERY PLAN {statement}");
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();

            let plan: Vec<_> = plan.into_iter().map(|(_, _, _, detail)| detail).collect();
            assert!(plan.iter().any(|detail| detail.contains(index)), "{statement}\n{plan:?}");
            assert!(!plan.iter().any(|detail| detail.contains("TEMP B-TREE")), "{statement}\n{plan:?}");
        }
    }
}
}
