//! Two nodes that do at the same time what only one of them can do.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};
use tintype_domain::{ServerName, Timestamp};
use tintype_storage::records::{
    ApplyTransaction, Body, Claim, ClaimOutcome, ClaimPartial, DeleteMedia, DeleteOutcome, Deleter, Fulfil,
    InsertOutcome, InsertReservation, MediaKind, Naming, NewLifetime, Quota, ReserveOutcome, TransactionOutcome,
};

use crate::media::{KEPT, alice, ephemeral, location, media, mxc, two_nodes};

/// How many do the same at once.
const MANY: usize = 24;

fn reservation(number: usize, kind: MediaKind, max_pending: u64) -> InsertReservation {
    InsertReservation {
        mxc: mxc(number),
        creator: alice(),
        created_at: Timestamp(1),
        expires_at: Timestamp::NEVER,
        max_pending,
        kind,
    }
}

fn claim(number: usize, holder: usize) -> Claim {
    let holder = i64::try_from(holder).unwrap();
    Claim { mxc: mxc(number), user: alice(), now: Timestamp(2), holder, partial: ClaimPartial::Keep }
}

fn delete(number: usize) -> DeleteMedia {
    DeleteMedia { mxc: mxc(number), deleter: Deleter::Owner(alice()), now: Timestamp(3) }
}

/// What is done by two nodes in turn, all at once.
macro_rules! at_once {
    ($one:ident, $two:ident, |$node:ident, $number:ident| $work:expr) => {
        join_all((0..MANY).map(|$number| {
            let $node = if $number % 2 == 0 { $one.clone() } else { $two.clone() };
            tokio::spawn(async move { $work.await.unwrap() })
        }))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect::<Vec<_>>()
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_claims_of_a_reservation_wins() {
    let (one, two, _database) = two_nodes().await;
    one.reserve(reservation(1, KEPT, 5)).await.unwrap();

    let outcomes = at_once!(one, two, |node, number| node.claim(claim(1, number)));

    let won = outcomes.iter().filter(|outcome| matches!(outcome, ClaimOutcome::Claimed(_))).count();
    let held = outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Held).count();
    assert_eq!((won, held), (1, MANY - 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_not_passed_by_uploads_at_the_same_time() {
    let (one, two, _database) = two_nodes().await;

    let outcomes = at_once!(one, two, |node, number| {
        let mut media = media(number, format!("bytes {number}").as_bytes());
        media.quota = Quota { bytes: u64::MAX, media: 5 };
        node.insert_media(media)
    });

    assert_eq!(outcomes.iter().filter(|outcome| **outcome == InsertOutcome::Inserted).count(), 5);
    assert_eq!(one.usage(&alice()).await.unwrap().media, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_counted_is_not_passed_either() {
    let (one, two, _database) = two_nodes().await;

    let outcomes = at_once!(one, two, |node, number| {
        let mut media = ephemeral(number, format!("bytes {number}").as_bytes());
        let quota = Quota { bytes: u64::MAX, media: 5 };
        media.lifetime = NewLifetime::Ephemeral { expires_at: Timestamp::NEVER, quota };
        node.insert_media(media)
    });

    assert_eq!(outcomes.iter().filter(|outcome| **outcome == InsertOutcome::Inserted).count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_reserved_at_the_same_time_than_may_be_open() {
    let (one, two, _database) = two_nodes().await;

    let outcomes = at_once!(one, two, |node, number| node.reserve(reservation(number, KEPT, 5)));

    assert_eq!(outcomes.iter().filter(|outcome| **outcome == ReserveOutcome::Reserved).count(), 5);
    assert_eq!(two.pending().await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_deleted_and_uploaded_at_the_same_time_stay_for_whoever_has_them() {
    let (one, two, database) = two_nodes().await;
    for number in 0..MANY {
        one.insert_media(ephemeral(number, b"shared")).await.unwrap();
    }

    let outcomes = at_once!(one, two, |node, number| async move {
        let deleted = node.delete_media(delete(number)).await?;
        assert_eq!(deleted, DeleteOutcome::Deleted { partial: None });
        node.insert_media(ephemeral(MANY + number, b"shared")).await
    });

    let gone = one.removals(1_000).await.unwrap();
    for number in 0..MANY {
        assert_eq!(two.find_media(&mxc(number)).await.unwrap(), None);
        let found = two.find_media(&mxc(MANY + number)).await.unwrap().unwrap();
        let Body::At(at) = found.body else { panic!("it is in a file") };
        assert!(!gone.contains(&at), "its file is about to be removed");
    }
    // Whoever was told that their bytes are the ones that are named has them named, or removed since.
    for (number, outcome) in outcomes.iter().enumerate() {
        let theirs = location(b"shared", MANY + number);
        let is_kept = one.is_recorded(&theirs).await.unwrap() || gone.contains(&theirs);
        assert_eq!(is_kept, *outcome == InsertOutcome::Inserted, "{number}");
    }
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let (refs, media): (i64, i64) = sqlx::query_as("SELECT refs, (SELECT COUNT(*) FROM media) FROM blobs")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let many = i64::try_from(MANY).unwrap();
    assert_eq!((refs, media), (many, many));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_while_it_is_stored_is_not_there() {
    let (one, two, _database) = two_nodes().await;
    for number in 0..MANY {
        one.reserve(reservation(number, MediaKind::Ephemeral, MANY as u64 + 1)).await.unwrap();
        one.claim(claim(number, number)).await.unwrap();
    }

    let fulfil = async |number: usize| {
        let media = ephemeral(number, format!("bytes {number}").as_bytes());
        one.fulfil(Fulfil { holder: i64::try_from(number).unwrap(), media }).await.unwrap()
    };
    let delete = async |number| two.delete_media(delete(number)).await.unwrap();
    let outcomes = join_all((0..MANY).map(|number| async move { tokio::join!(fulfil(number), delete(number)) })).await;

    for (number, (_, deleted)) in outcomes.iter().enumerate() {
        assert_eq!(*deleted, DeleteOutcome::Deleted { partial: None });
        assert_eq!(two.find_media(&mxc(number)).await.unwrap(), None);
        assert!(!one.is_recorded(&location(format!("bytes {number}").as_bytes(), number)).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_comes_to_two_nodes_is_applied_once() {
    let (one, two, _database) = two_nodes().await;

    let outcomes = at_once!(one, two, |node, _number| {
        node.apply_transaction(ApplyTransaction {
            tenant: ServerName::parse("example.org").unwrap(),
            transaction_id: "1".to_owned(),
            events: Vec::new(),
            now: Timestamp(1),
            naming: Naming::Ignored,
        })
    });

    let applied = outcomes.iter().filter(|outcome| matches!(outcome, TransactionOutcome::Applied(_))).count();
    assert_eq!(applied, 1);
}
