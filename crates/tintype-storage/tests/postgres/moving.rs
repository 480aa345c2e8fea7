//! An installation that is moved from SQLite.

#![expect(clippy::unwrap_used, reason = "a test whose preparations fail has failed")]

use std::{path::PathBuf, sync::Arc};

use futures_util::FutureExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tintype_domain::{OsRandomness, Timestamp};
use tintype_services::{Database, Postgres};
use tintype_storage::{
    blobs::{Blobs, Files},
    records::{Body, DeleteMedia, Deleter, Move, MoveError, PostgresDatabase, Records, RecordsError},
};

use crate::media::{alice, ephemeral, inline, location, media, mxc};

/// More than one batch has.
const MANY: usize = 1_200;

struct World {
    folder: TempDir,
    database: Database,
    files: Blobs,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let files = Files::open(&folder.path().join("media"), Arc::new(OsRandomness)).unwrap().into();
        let world = Self { folder, database: Postgres::shared().database(), files };
        let records = world.source().await;
        for number in 0..MANY {
            records.insert_media(media(number, format!("bytes {number}").as_bytes())).await.unwrap();
        }
        records.insert_media(inline(MANY, b"small")).await.unwrap();
        records.insert_media(inline(MANY + 1, b"")).await.unwrap();
        records.insert_media(ephemeral(MANY + 2, b"deleted")).await.unwrap();
        let delete = DeleteMedia { mxc: mxc(MANY + 2), deleter: Deleter::Owner(alice()), now: Timestamp(3) };
        records.delete_media(delete).await.unwrap();
        records.close().await;
        world
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("records.db")
    }

    async fn source(&self) -> Records {
        Records::open_sqlite(&self.path()).await.unwrap()
    }

    async fn begin(&self) -> Result<Move, MoveError> {
        Move::begin(&self.path(), &PostgresDatabase::from(self.database.url())).await
    }

    async fn run(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.database.url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }

    async fn target(&self) -> Result<Records, RecordsError> {
        Records::open_postgres(self.database.url()).await
    }
}

#[tokio::test]
async fn a_moved_installation_has_all_that_it_had_and_no_body_in_the_database() {
    let world = World::new().await;

    let mut moving = world.begin().await.unwrap();
    moving.copy(&world.files, |_| {}).await.unwrap();
    assert!(moving.verify().await.unwrap() > 2 * MANY as u64);
    moving.finish().await.unwrap();

    let (source, target) = (world.source().await, world.target().await.unwrap());
    for number in [0, 1, MANY - 1, MANY + 1, MANY + 2] {
        let [was, is] =
            [source.find_media(&mxc(number)).await.unwrap(), target.find_media(&mxc(number)).await.unwrap()];
        assert_eq!(was, is, "{number}");
    }
    let moved = target.find_media(&mxc(MANY)).await.unwrap().unwrap();
    let Body::At(at) = moved.body else { panic!("it is in the database") };
    assert!(target.is_recorded(&at).await.unwrap());
    assert_eq!(at.content_hash(), moved.record.sha256);
    assert!(world.files.read(&at).await.is_ok());
    assert_eq!(target.usage(&alice()).await.unwrap(), source.usage(&alice()).await.unwrap());
    // Numbers go on where they were.
    target.insert_media(media(MANY + 3, b"new")).await.unwrap();
}

#[tokio::test]
async fn a_move_that_was_cut_goes_on_where_it_was() {
    let world = World::new().await;
    let mut moving = world.begin().await.unwrap();
    let mut batches = 0;
    let mut cut = None;
    {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let copying = moving.copy(&world.files, |_| {
            batches += 1;
            if batches == 3 {
                stop.take().map(|stop| stop.send(()));
            }
        });
        tokio::select! {
            biased;
            _ = stopped => cut = Some(()),
            copied = copying => copied.unwrap(),
        }
    }
    assert!(cut.is_some(), "the move was cut");
    drop(moving);
    // A server does not take it for an installation.
    assert!(matches!(world.target().await, Err(RecordsError::UnfinishedMove)));

    let mut first = None;
    let mut again = world.begin().await.unwrap();
    again.copy(&world.files, |progress| _ = first.get_or_insert(progress.moved)).await.unwrap();
    again.verify().await.unwrap();
    again.finish().await.unwrap();

    assert!(first.is_some_and(|moved| moved > 0), "it began anew");
    let target = world.target().await.unwrap();
    assert_eq!(target.usage(&alice()).await.unwrap().media, MANY as u64 + 2);
    assert!(target.is_recorded(&location(b"bytes 7", 7)).await.unwrap());
}

#[tokio::test]
async fn a_change_of_one_value_is_found() {
    for change in [
        "UPDATE media SET filename = 'another.png' WHERE media_id = 'media7'",
        "DELETE FROM tombstones",
        "INSERT INTO settings (name, value) VALUES ('a', 'b')",
        "UPDATE blobs SET location = replace(location, left(location, 1), '0') WHERE size = 5 AND left(location, 1) <> '0'",
    ] {
        let world = World::new().await;
        let mut moving = world.begin().await.unwrap();
        moving.copy(&world.files, |_| {}).await.unwrap();

        world.run(change).await;

        let verified = moving.verify().await;
        assert!(matches!(verified, Err(MoveError::Differs { .. })), "{change}: {verified:?}");
    }
}

#[tokio::test]
async fn a_target_with_other_content_and_a_source_in_use_are_refused() {
    let world = World::new().await;
    let target = world.target().await.unwrap();
    target.insert_media(media(1, b"other")).await.unwrap();
    let refused = world.begin().await;
    assert!(matches!(refused, Err(MoveError::TargetNotEmpty { .. })), "{refused:?}");
    assert!(target.find_media(&mxc(1)).await.unwrap().is_some());

    let world = World::new().await;
    let moving = world.begin().await.unwrap();
    let refused = world.begin().await;
    assert!(matches!(refused, Err(MoveError::SourceInUse)), "{refused:?}");
    let writing = world.source().await;
    assert!(writing.insert_media(media(9_999, b"late")).now_or_never().is_none(), "the source is locked");
    drop(moving);
}
