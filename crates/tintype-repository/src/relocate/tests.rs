//! Blobs that go from one folder to another.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use tintype_domain::{ContentHash, Mxc, OsRandomness, OwnedUserId, Randomness, Timestamp};
use tintype_storage::{
    blobs::{Blobs, BlobsError, Brought, Files, Location, Moving},
    records::{
        Body, DeleteMedia, Deleter, InsertMedia, InsertOutcome, KeptBlobs, NewAudience, NewBlob, NewLifetime, Note,
        Quota, Records,
    },
};

use super::Relocation;

struct Installation {
    folder: TempDir,
    records: Records,
    old: Files,
    new: Files,
}

impl Installation {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let records = Records::open_sqlite(&folder.path().join("records.db")).await.unwrap();
        let randomness: Arc<dyn Randomness> = Arc::new(OsRandomness);
        let old = Files::open_among_others(&folder.path().join("old"), &randomness).unwrap();
        let new = Files::open(&folder.path().join("new"), randomness).unwrap();
        Self { folder, records, old, new }
    }

    fn moving(&self) -> Moving {
        Moving::new(self.old.clone(), self.new.clone())
    }

    fn relocation(&self) -> Relocation {
        Relocation::new(self.records.clone(), self.moving())
    }

    /// Media with these bytes, which anybody who has the server's trust may delete.
    async fn keep(&self, store: &Files, id: &str, bytes: &str) -> Location {
        let location = write(store, bytes).await;
        let blob = NewBlob {
            sha256: ContentHash::of(bytes.as_bytes()),
            size: bytes.len() as u64,
            body: Body::At(location.clone()),
        };
        let media = InsertMedia {
            mxc: mxc(id),
            blob,
            content_type: b"text/plain".to_vec(),
            filename: None,
            uploader: OwnedUserId::try_from("@alice:localhost").unwrap(),
            created_at: Timestamp(0),
            quota: Quota::UNLIMITED,
            lifetime: NewLifetime::Ephemeral { expires_at: Timestamp::NEVER, quota: Quota::UNLIMITED },
            audience: NewAudience::Everyone,
        };
        assert_eq!(self.records.insert_media(media).await.unwrap(), InsertOutcome::Inserted);
        store.recorded(&location).await;
        location
    }

    /// The record goes; the file does not yet.
    async fn delete(&self, id: &str) {
        let deleter = Deleter::Admin;
        self.records.delete_media(DeleteMedia { mxc: mxc(id), deleter, now: Timestamp(1) }).await.unwrap();
    }

    fn blobs_in(&self, store: &str) -> usize {
        fn below(folder: &Path) -> usize {
            let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            paths.map(|path| if path.is_dir() { below(&path) } else { usize::from(!path.ends_with("lock")) }).sum()
        }
        below(&self.folder.path().join(store))
    }
}

fn mxc(id: &str) -> Mxc {
    Mxc::from_parts("localhost", id).unwrap()
}

async fn write(store: &Files, bytes: &str) -> Location {
    let mut incoming = store.receive().await.unwrap();
    incoming.write(Bytes::copy_from_slice(bytes.as_bytes())).await.unwrap();
    store.publish(incoming.finish().await.unwrap()).await.unwrap()
}

async fn read(store: impl Into<Blobs>, location: &Location, size: usize) -> Result<Vec<u8>, BlobsError> {
    let stream = store.into().read(location).await?.stream(0..size as u64).await?;
    Ok(stream.try_collect::<Vec<_>>().await?.concat())
}

fn damage(installation: &Installation, location: &Location) {
    let name = location.as_str();
    let path = installation.folder.path().join("old").join(&name[..2]).join(&name[2..4]).join(name);
    fs::write(path, "tampered").unwrap();
}

#[tokio::test]
async fn everything_is_moved_and_can_be_read_before_and_after() {
    let installation = Installation::new().await;
    let first = installation.keep(&installation.old, "first", "one").await;
    let second = installation.keep(&installation.old, "second", "two!").await;
    let fresh = installation.keep(&installation.new, "fresh", "fresh").await;
    assert_eq!(read(installation.moving(), &first, 3).await.unwrap(), b"one");

    let mut seen = 0;
    let relocated = installation.relocation().run(|_| seen += 1).await.unwrap();

    assert_eq!(relocated.moved, KeptBlobs { blobs: 2, bytes: 7 });
    assert_eq!((relocated.all, relocated.done, seen), (KeptBlobs { blobs: 3, bytes: 12 }, relocated.all, 3));
    assert_eq!((installation.blobs_in("old"), installation.blobs_in("new")), (0, 3));
    for (location, bytes) in [(&first, "one"), (&second, "two!"), (&fresh, "fresh")] {
        assert_eq!(read(installation.new.clone(), location, bytes.len()).await.unwrap(), bytes.as_bytes());
    }
    let again = installation.relocation().run(|_| {}).await.unwrap();
    assert_eq!((again.moved, again.missing), (KeptBlobs::default(), Vec::new()));
}

#[tokio::test]
async fn what_is_damaged_stays_where_it_is_and_what_is_missing_is_said() {
    let installation = Installation::new().await;
    let damaged = installation.keep(&installation.old, "damaged", "original").await;
    let missing = installation.keep(&installation.old, "missing", "missing").await;
    let sound = installation.keep(&installation.old, "sound", "sound").await;
    damage(&installation, &damaged);
    installation.old.remove(&missing).await.unwrap();

    let relocated = installation.relocation().run(|_| {}).await.unwrap();

    assert_eq!((&relocated.damaged[..], &relocated.missing[..]), (&[damaged.clone()][..], &[missing][..]));
    assert_eq!(read(installation.moving(), &damaged, 8).await.unwrap(), b"tampered");
    assert!(matches!(read(installation.new.clone(), &damaged, 8).await, Err(BlobsError::NotFound(_))));
    read(installation.new.clone(), &sound, 5).await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_while_it_is_copied_is_left_in_neither_store() {
    let installation = Installation::new().await;
    let location = installation.keep(&installation.old, "media", "bytes").await;
    let listed = installation.records.kept_blobs(0, 10).await.unwrap();

    installation.delete("media").await;
    // The server removes what it finds, and the copy comes after that.
    let copied = installation.moving().bring(&location, 5).await.unwrap();
    let brought = installation.relocation().bring(&listed[0]).await.unwrap();

    assert_eq!((copied, brought), (Brought::Copied, None));
    assert_eq!((installation.blobs_in("old"), installation.blobs_in("new")), (0, 0));
}

#[tokio::test]
async fn what_was_being_copied_when_the_move_was_killed_and_then_deleted_does_not_come_back() {
    let installation = Installation::new().await;
    let deleted = installation.keep(&installation.old, "deleted", "deleted").await;
    let kept = installation.keep(&installation.old, "kept", "kept").await;
    let relocation = installation.relocation();
    relocation.write_down(0, &installation.records.kept_blobs(0, 10).await.unwrap()).await.unwrap();
    // Killed here: both are whole in both stores. Then the server removes one, and the last of its copies is lost on the way.
    for (location, size) in [(&deleted, 7), (&kept, 4)] {
        installation.moving().bring(location, size).await.unwrap();
    }
    installation.delete("deleted").await;
    installation.old.remove(&deleted).await.unwrap();

    let relocated = relocation.run(|_| {}).await.unwrap();

    assert_eq!((installation.blobs_in("old"), installation.blobs_in("new")), (0, 1));
    assert_eq!(relocated.moved, KeptBlobs { blobs: 1, bytes: 4 });
    assert_eq!(installation.records.noted(Note::BlobsMoved).await.unwrap(), None);
}

#[tokio::test]
async fn a_removal_takes_effect_in_both_stores() {
    let installation = Installation::new().await;
    let location = installation.keep(&installation.old, "media", "bytes").await;
    installation.moving().bring(&location, 5).await.unwrap();

    Blobs::from(installation.moving()).remove(&location).await.unwrap();

    assert_eq!((installation.blobs_in("old"), installation.blobs_in("new")), (0, 0));
}
