//! Blobs that are damaged on the disk, and what nobody knows there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use tempfile::TempDir;
use tintype_domain::{
    Audience, Clock as _, ContentHash, Lifetime, ManualClock, Mxc, OsRandomness, ServerName, SystemClock, Timestamp,
};
use tintype_storage::{
    blobs::{Files, Pace},
    records::{
        Body, Damage, DamagedBlob, InsertOutcome, InsertRemote, KeptBlob, NewBlob, Note, Records, RemoteKey,
        RemoteResponse, RemoteSource,
    },
};

use crate::{
    Accounts, Local, MediaServer, Parts, Repository, Rules, ScrubRules, Upload, UploadKind,
    fulfil::tests::{metric, nobody_elses, rules, user},
    strays::{self, Strays},
};

const DAY: Duration = Duration::from_hours(24);

struct Installation {
    repository: Repository,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl Installation {
    async fn new(scrub: ScrubRules) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let server = MediaServer {
            name: ServerName::parse("localhost").unwrap(),
            accounts: Accounts::Local(Local),
            admins: Arc::new(BTreeSet::new()),
        };
        let repository = Repository::open_all(Parts {
            records: Records::open_sqlite(&folder.path().join("records.db")).await.unwrap(),
            blobs: Files::open(&folder.path().join("media"), Arc::new(OsRandomness)).unwrap().into(),
            servers: vec![server],
            federation: nobody_elses(Arc::<ManualClock>::clone(&clock)),
            rules: Rules { scrub, ..rules() },
            clock: Arc::clone(&clock) as Arc<dyn tintype_domain::Clock>,
            randomness: Arc::new(OsRandomness),
            cluster: None,
        });
        Self { repository: repository.await.unwrap(), clock, folder }
    }

    /// Checked only when a test does.
    async fn unchecked() -> Self {
        Self::new(ScrubRules { every: None, bytes_per_second: u64::MAX }).await
    }

    fn records(&self) -> &Records {
        &self.repository.0.records
    }

    async fn upload(&self, bytes: &'static str) -> Mxc {
        let upload = Upload {
            server_name: ServerName::parse("localhost").unwrap(),
            content_type: b"text/plain".to_vec(),
            filename: None,
            content_length: None,
            kind: UploadKind::Kept,
        };
        let body = stream::iter([Ok(Bytes::from_static(bytes.as_bytes()))]);
        self.repository.receive(&user("@alice:localhost"), upload, body).await.unwrap().mxc
    }

    /// What another server sent.
    async fn fetch(&self, id: &str, bytes: &'static str) -> RemoteKey {
        let blobs = &self.repository.0.blobs;
        let mut incoming = blobs.receive().await.unwrap();
        incoming.write(Bytes::from_static(bytes.as_bytes())).await.unwrap();
        let location = blobs.publish(incoming.finish().await.unwrap()).await.unwrap();
        let sha256 = ContentHash::of(bytes.as_bytes());
        let key = RemoteKey { mxc: Mxc::from_parts("elsewhere", id).unwrap(), response: RemoteResponse::Original };
        let remote = InsertRemote {
            key: key.clone(),
            blob: NewBlob { sha256, size: bytes.len() as u64, body: Body::At(location.clone()) },
            content_type: b"text/plain".to_vec(),
            filename: None,
            fetched_at: self.clock.now(),
            lifetime: Lifetime::Kept,
            audience: Audience::Everyone,
            source: RemoteSource::Origin,
        };
        assert_eq!(self.records().insert_remote(remote).await.unwrap(), InsertOutcome::Inserted);
        blobs.recorded(&location).await;
        key
    }

    async fn blob(&self, place: usize) -> KeptBlob {
        self.records().kept_blobs(0, 100).await.unwrap()[place].clone()
    }

    fn path(&self, blob: &KeptBlob) -> PathBuf {
        let name = blob.location.as_str();
        self.folder.path().join("media").join(&name[..2]).join(&name[2..4]).join(name)
    }

    /// As a disk does that forgets a bit.
    fn damage(&self, blob: &KeptBlob) {
        let path = self.path(blob);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    async fn check(&self, blob: &KeptBlob) {
        super::check(&self.repository.0, blob, &Pace::new(u64::MAX)).await.unwrap();
    }

    async fn damages(&self) -> Vec<DamagedBlob> {
        self.records().damages().await.unwrap()
    }
}

fn blobs_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { blobs_in(&path) } else { usize::from(!path.ends_with("lock")) }).sum()
}

#[tokio::test]
async fn what_is_as_it_was_stored_is_left_alone() {
    let installation = Installation::unchecked().await;
    installation.upload("more bytes than beside a record").await;

    installation.check(&installation.blob(0).await).await;

    assert_eq!(installation.damages().await, []);
    assert_eq!(metric(&installation.repository, "blobs_checked_total"), 1);
}

#[tokio::test]
async fn media_of_ours_that_is_damaged_or_missing_is_kept_and_listed_until_it_is_sound_again() {
    let installation = Installation::unchecked().await;
    let media = installation.upload("more bytes than beside a record").await;
    let lost = installation.upload("and some others, also rather many").await;
    let (damaged, missing) = (installation.blob(0).await, installation.blob(1).await);
    installation.damage(&damaged);
    fs::remove_file(installation.path(&missing)).unwrap();

    installation.check(&damaged).await;
    installation.check(&missing).await;

    let found: Vec<_> = installation.damages().await.into_iter().map(|found| (found.damage, found.media)).collect();
    assert_eq!(found, [(Damage::Changed, vec![media]), (Damage::Missing, vec![lost])]);
    assert_eq!(metric(&installation.repository, "blobs_damaged"), 1);
    assert_eq!(metric(&installation.repository, "blobs_missing"), 1);
    assert!(installation.path(&damaged).exists());
    installation.damage(&damaged);
    installation.check(&damaged).await;
    assert_eq!(installation.damages().await.len(), 1);
}

#[tokio::test]
async fn media_of_other_servers_that_is_damaged_is_forgotten_so_that_it_is_fetched_again() {
    let installation = Installation::unchecked().await;
    let key = installation.fetch("media", "more bytes than beside a record").await;
    let blob = installation.blob(0).await;
    installation.damage(&blob);

    installation.check(&blob).await;

    assert_eq!(installation.records().find_remote(&key).await.unwrap(), None);
    assert_eq!(
        (installation.damages().await, installation.records().removals(10).await.unwrap()),
        (vec![], vec![blob.location])
    );
}

#[tokio::test]
async fn whoever_stores_the_same_bytes_again_mends_what_is_damaged() {
    let installation = Installation::unchecked().await;
    let media = installation.upload("more bytes than beside a record").await;
    let before = installation.blob(0).await;
    installation.damage(&before);
    installation.check(&before).await;

    let again = installation.upload("more bytes than beside a record").await;

    let after = installation.blob(0).await;
    assert_eq!((after.id, installation.damages().await), (before.id, vec![]));
    assert_eq!(fs::read(installation.path(&after)).unwrap(), b"more bytes than beside a record");
    assert_eq!(installation.records().removals(10).await.unwrap(), [before.location]);
    for mxc in [media, again] {
        let found = installation.records().find_media(&mxc).await.unwrap().unwrap();
        assert_eq!(found.body, Body::At(after.location.clone()));
    }
}

#[tokio::test]
async fn of_what_was_deleted_while_it_was_checked_nothing_is_noted() {
    let installation = Installation::unchecked().await;
    installation.fetch("media", "more bytes than beside a record").await;
    let blob = installation.blob(0).await;
    installation.damage(&blob);
    installation.check(&blob).await;

    installation.check(&blob).await;

    assert_eq!(installation.damages().await, []);
}

#[tokio::test]
async fn everything_is_checked_once_in_the_time_that_is_given_and_no_more() {
    let every = Some(DAY * 30);
    let installation = Installation::new(ScrubRules { every, bytes_per_second: u64::MAX }).await;
    for bytes in ["more bytes than beside a record", "and some others, also rather many"] {
        installation.upload(bytes).await;
    }
    let inner = &installation.repository.0;
    let pace = Pace::new(u64::MAX);
    let round = async || while super::some(inner, &pace).await.unwrap() == super::Next::More {};
    let checked = || metric(&installation.repository, "blobs_checked_total");

    round().await;
    assert_eq!(checked(), 2);
    round().await;
    assert_eq!(checked(), 2, "its time has not come");

    installation.damage(&installation.blob(1).await);
    // Stopped in the middle: it goes on after the first one.
    let (now, first) = (installation.clock.now(), installation.blob(0).await.id);
    installation.records().note(Note::Scrub, Some(format!("{} {first}", now.as_millis()))).await.unwrap();
    round().await;
    assert_eq!((checked(), installation.damages().await.len()), (3, 1));
    assert_eq!(inner.damages.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_nobody_knows_in_the_store_goes_after_a_day_and_nothing_else() {
    let installation = Installation::unchecked().await;
    installation.upload("more bytes than beside a record").await;
    let inner = &installation.repository.0;
    let mut incoming = inner.blobs.receive().await.unwrap();
    incoming.write(Bytes::from_static(b"a request that came late")).await.unwrap();
    let stray = inner.blobs.publish(incoming.finish().await.unwrap()).await.unwrap();
    inner.blobs.recorded(&stray).await;
    // The time is that of the file system here.
    let now = SystemClock.now();
    let media = installation.folder.path().join("media");

    assert_eq!(strays::remove(inner, now).await.unwrap(), Strays::Removed(0));
    assert_eq!(blobs_in(&media), 2 + 1, "both, and the mark of the installation");

    assert_eq!(strays::remove(inner, now + DAY + DAY).await.unwrap(), Strays::Removed(1));
    assert_eq!(blobs_in(&media), 1 + 1);
    assert!(installation.path(&installation.blob(0).await).exists());
}

#[tokio::test]
async fn a_store_that_others_use_too_or_of_which_little_is_known_is_left_alone() {
    let installation = Installation::unchecked().await;
    let inner = &installation.repository.0;
    let folder = installation.folder.path().join("media/ab/cd");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..101 {
        let name = format!("abcd{}-{number:012x}", "0".repeat(60));
        fs::write(folder.join(name), b"somebody's").unwrap();
    }
    let later = SystemClock.now() + DAY + DAY;

    assert_eq!(strays::remove(inner, later).await.unwrap(), Strays::TooMany(101));

    fs::remove_file(folder.join(format!("abcd{}-{:012x}", "0".repeat(60), 0))).unwrap();
    fs::write(installation.folder.path().join("media/installations/another"), b"").unwrap();
    assert_eq!(strays::remove(inner, later).await.unwrap(), Strays::NotAlone);
    fs::remove_file(installation.folder.path().join("media/installations/another")).unwrap();
    assert_eq!(strays::remove(inner, later).await.unwrap(), Strays::Removed(100));
}
