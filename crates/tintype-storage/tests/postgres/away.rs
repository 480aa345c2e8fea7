//! A database that goes away, in the middle of anything.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tintype_services::Postgres;
use tintype_storage::records::{Body, InsertOutcome, Records, RecordsError, Usage};

use crate::{
    media::{alice, location, media, mxc, two_nodes},
    wire::{Cut, Wire},
};

/// Records behind a wire, others beside it, and the wire.
async fn behind_a_wire() -> (Records, Records, Wire, tintype_services::Database) {
    let database = Postgres::shared().database();
    let wire = Wire::to(&database.url()).await;
    let behind = Records::open_postgres(wire.url()).await.unwrap();
    let beside = Records::open_postgres(database.url()).await.unwrap();
    (behind, beside, wire, database)
}

/// Ends all connections to a database, as an administrator does.
async fn terminate(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(all).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn what_meets_dead_connections_is_done_on_living_ones() {
    let (records, _other, database) = two_nodes().await;
    records.insert_media(media(1, b"one")).await.unwrap();

    terminate(&database.url()).await;
    assert!(records.find_media(&mxc(1)).await.unwrap().is_some());

    terminate(&database.url()).await;
    assert_eq!(records.insert_media(media(2, b"two")).await.unwrap(), InsertOutcome::Inserted);
}

#[tokio::test]
async fn a_transaction_that_was_cut_before_its_commit_is_run_again_and_counts_once() {
    let (behind, beside, wire, _database) = behind_a_wire().await;

    wire.cut(Cut::After("WITH counted"));
    assert_eq!(behind.insert_media(media(1, b"one")).await.unwrap(), InsertOutcome::Inserted);

    assert_eq!(beside.usage(&alice()).await.unwrap(), Usage { bytes: 3, media: 1 });
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_told_as_unknown_and_not_run_again() {
    let (behind, beside, wire, _database) = behind_a_wire().await;
    let mut unknown = behind.unknown_outcomes().unwrap();

    wire.cut(Cut::After("COMMIT"));
    let outcome = behind.insert_media(media(1, b"one")).await;

    assert!(matches!(outcome, Err(RecordsError::OutcomeUnknown(_))), "{outcome:?}");
    assert!(unknown.has_changed().unwrap());
    unknown.mark_unchanged();
    assert!(behind.is_recorded(&location(b"one", 1)).await.unwrap());
    assert_eq!(beside.usage(&alice()).await.unwrap(), Usage { bytes: 3, media: 1 });
    let found = beside.find_media(&mxc(1)).await.unwrap().unwrap();
    assert_eq!(found.body, Body::At(location(b"one", 1)));
}

#[tokio::test]
async fn a_commit_that_did_not_arrive_is_told_as_unknown_and_leaves_nothing() {
    let (behind, beside, wire, _database) = behind_a_wire().await;

    wire.cut(Cut::Before("COMMIT"));
    let outcome = behind.insert_media(media(1, b"one")).await;

    assert!(matches!(outcome, Err(RecordsError::OutcomeUnknown(_))), "{outcome:?}");
    assert!(!behind.is_recorded(&location(b"one", 1)).await.unwrap());
    assert_eq!(beside.find_media(&mxc(1)).await.unwrap(), None);
    assert_eq!(beside.insert_media(media(1, b"one")).await.unwrap(), InsertOutcome::Inserted);
}

#[tokio::test]
async fn whether_bytes_are_recorded_is_not_said_while_somebody_is_about_to_record_them() {
    let (records, _other, database) = two_nodes().await;
    for (end, recorded) in [("ROLLBACK", false), ("COMMIT", true)] {
        let mut lost = PgConnection::connect(&database.url()).await.unwrap();
        sqlx::query("BEGIN").execute(&mut lost).await.unwrap();
        let place = location(b"one", 1);
        sqlx::query("INSERT INTO blobs (sha256, size, location, refs) VALUES ($1, 3, $2, 1)")
            .bind(place.content_hash().as_bytes().to_vec())
            .bind(place.as_str())
            .execute(&mut lost)
            .await
            .unwrap();

        let (asking, asked) = (records.clone(), place.clone());
        let mut answer = tokio::spawn(async move { asking.is_recorded(&asked).await.unwrap() });
        let mut watching = PgConnection::connect(&database.url()).await.unwrap();
        let waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query(waits).fetch_optional(&mut watching).await.unwrap().is_none() {
            assert!(!answer.is_finished(), "it was answered before the transaction ended");
            tokio::task::yield_now().await;
        }
        assert!(tokio::time::timeout(Duration::ZERO, &mut answer).await.is_err());
        sqlx::query(end).execute(&mut lost).await.unwrap();

        assert_eq!(answer.await.unwrap(), recorded, "{end}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_told_as_unavailable_and_is_used_again_when_it_is_back() {
    let mut server = Postgres::start();
    let records = Records::open_postgres(server.url("postgres")).await.unwrap();
    records.insert_media(media(1, b"one")).await.unwrap();

    server.stop();
    let name = mxc(1);
    let (read, write, ping) =
        tokio::join!(records.find_media(&name), records.insert_media(media(2, b"two")), records.ping());
    assert!(matches!(read, Err(RecordsError::Unavailable(_))), "{read:?}");
    assert!(matches!(write, Err(RecordsError::Unavailable(_))), "{write:?}");
    assert!(matches!(ping, Err(RecordsError::Unavailable(_))), "{ping:?}");

    server.start_again();
    records.ping().await.unwrap();
    assert!(records.find_media(&mxc(1)).await.unwrap().is_some());
    assert_eq!(records.insert_media(media(2, b"two")).await.unwrap(), InsertOutcome::Inserted);
}

#[tokio::test]
async fn a_text_with_a_nul_is_no_failure() {
    let (records, other, _database) = two_nodes().await;
    let mut named = media(1, b"one");
    named.filename = Some("a\0b.png".to_owned());
    records.insert_media(named).await.unwrap();

    let found = other.find_media(&mxc(1)).await.unwrap().unwrap();

    assert_eq!(found.record.filename.as_deref(), Some("a\u{FFFD}b.png"));
}
