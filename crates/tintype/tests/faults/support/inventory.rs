//! What is on the disk: the records, read from a copy of the database, against the files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{Connection as _, FromRow, SqliteConnection, sqlite::SqliteConnectOptions};

/// A piece of media in the records.
#[derive(Debug, FromRow)]
pub struct Media {
    pub content_uri: String,
    pub filename: String,
}

/// All that an installation holds.
#[derive(Debug)]
pub struct Inventory {
    pub media: Vec<Media>,
    /// The locations of what was deleted and whose files are still to be removed.
    pub removals: BTreeSet<String>,
}

impl Inventory {
    /// Takes stock, and asserts that the database is sound and that blobs and their files name each other.
    ///
    /// The database is read from a copy, so that looking changes nothing. Nothing may be writing to it.
    pub fn take(data_dir: &Path) -> Self {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for name in ["tintype.db", "tintype.db-wal"] {
            if data_dir.join(name).exists() {
                fs::copy(data_dir.join(name), copy.path().join(name)).expect("the database can be copied");
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (media, locations, removals, partials) = runtime.block_on(read(&copy.path().join("tintype.db")));
        // A file that is owed is there, or was removed just now.
        let mut there = blob_files(&data_dir.join("media"));
        there.retain(|name| locations.contains(name) || !removals.contains(name));
        assert_eq!(there, locations, "files (left) and records of blobs (right)");
        let files = list(&data_dir.join("media/partial")).map(|path| name_of(&path)).collect::<BTreeSet<_>>();
        assert_eq!(files, partials, "files (left) and records (right) of uploads that can be continued");
        Self { media, removals }
    }
}

async fn read(database: &Path) -> (Vec<Media>, BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let options = SqliteConnectOptions::new().filename(database);
    let mut database = SqliteConnection::connect_with(&options).await.expect("the database opens");
    let verdict: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await.expect("it can be checked");
    assert_eq!(verdict, "ok");
    let orphans = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut database).await.expect("it can be checked");
    assert_eq!(orphans.len(), 0, "rows without what they refer to");
    let miscounted: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM blobs WHERE refs <> (SELECT COUNT(*) FROM media WHERE blob_id = blobs.id)
                                              + (SELECT COUNT(*) FROM thumbnails WHERE blob_id = blobs.id)
                                              + (SELECT COUNT(*) FROM remote_cache WHERE blob_id = blobs.id)",
    )
    .fetch_one(&mut database)
    .await
    .expect("references can be counted");
    assert_eq!(miscounted, 0, "blobs whose references are miscounted");
    let miscounted: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM usage WHERE media <> (SELECT COUNT(*) FROM media WHERE uploader = user_id)
             OR bytes <> (SELECT COALESCE(SUM(size), 0) FROM media JOIN blobs ON blobs.id = blob_id
                          WHERE uploader = user_id)",
    )
    .fetch_one(&mut database)
    .await
    .expect("usage can be counted");
    assert_eq!(miscounted, 0, "users whose usage is miscounted");
    let miscounted: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM remote_usage WHERE responses <> (SELECT COUNT(*) FROM remote_cache)
             OR bytes <> (SELECT COALESCE(SUM(size), 0) FROM remote_cache JOIN blobs ON blobs.id = blob_id)",
    )
    .fetch_one(&mut database)
    .await
    .expect("the remote cache can be counted");
    assert_eq!(miscounted, 0, "the sum of the remote cache");
    let media = sqlx::query_as("SELECT 'mxc://' || server_name || '/' || media_id AS content_uri, filename FROM media")
        .fetch_all(&mut database)
        .await
        .expect("media can be listed");
    let both: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM media JOIN reservations USING (server_name, media_id)")
        .fetch_one(&mut database)
        .await
        .expect("reservations can be listed");
    assert_eq!(both, 0, "media that is recorded and still reserved");
    let locations: Vec<String> = sqlx::query_scalar("SELECT location FROM blobs WHERE location IS NOT NULL")
        .fetch_all(&mut database)
        .await
        .expect("blobs can be listed");
    let undead: i64 = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM media JOIN tombstones USING (server_name, media_id))
              + (SELECT COUNT(*) FROM reservations JOIN tombstones USING (server_name, media_id))
              + (SELECT COUNT(*) FROM thumbnails JOIN tombstones USING (server_name, media_id))
              + (SELECT COUNT(*) FROM blobs JOIN removals USING (location))",
    )
    .fetch_one(&mut database)
    .await
    .expect("tombstones can be listed");
    assert_eq!(undead, 0, "what was deleted and is still there");
    let removals: Vec<String> = sqlx::query_scalar("SELECT location FROM removals")
        .fetch_all(&mut database)
        .await
        .expect("removals can be listed");
    let partials: Vec<String> = sqlx::query_scalar("SELECT partial FROM reservations WHERE partial IS NOT NULL")
        .fetch_all(&mut database)
        .await
        .expect("partial uploads can be listed");
    database.close().await.expect("the copy closes");
    (media, locations.into_iter().collect(), removals.into_iter().collect(), partials.into_iter().collect())
}

/// The names of all blobs in a media folder.
fn blob_files(media_dir: &Path) -> BTreeSet<String> {
    blobs(media_dir).iter().map(|path| name_of(path)).collect()
}

/// The files of all blobs in a media folder.
pub fn blobs(media_dir: &Path) -> Vec<PathBuf> {
    let shards = folders(media_dir).filter(|path| !path.ends_with("tmp") && !path.ends_with("pending"));
    shards.flat_map(|first| folders(&first).collect::<Vec<_>>()).flat_map(|second| list(&second)).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Temporary files and markers: what uploads leave that have not ended.
pub fn unfinished(media_dir: &Path) -> Vec<PathBuf> {
    list(&media_dir.join("tmp")).chain(list(&media_dir.join("pending"))).collect()
}

/// The files of uploads that can be continued.
pub fn partial(media_dir: &Path) -> Vec<PathBuf> {
    list(&media_dir.join("partial")).collect()
}

pub fn assert_nothing_unfinished(media_dir: &Path) {
    assert_eq!(unfinished(media_dir), Vec::<PathBuf>::new());
}

fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    list(folder).filter(|path| path.is_dir())
}

fn list(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("the folder can be listed").path())
}
