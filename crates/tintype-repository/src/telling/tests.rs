//! Two nodes on one database and one folder, without HTTP.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tintype_domain::{Clock, ManualClock, Mxc, OsRandomness, ServerName, SystemClock, Timestamp, UserId};
use tintype_services::{Database, Postgres};
use tintype_storage::{
    blobs::Files,
    records::{ClaimPartial, DeleteMedia, Deleter, NodeId, Records},
};
use tokio::time::{sleep, timeout};

use crate::{
    Accounts, BodyError, Caller, Cluster, ClusterError, DownloadRequest, FromOrigin, FulfilError, Local, MediaServer,
    Membership, OpenError, Opened, Parts, RedactedMedia, Repository, TokensOf, Upload, UploadKind, Wanted,
    fulfil::tests::{metric, nobody_elses, rules, user},
};

/// How long something may take that has to happen: long enough for any machine, and waited for only by a failure.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two nodes.
struct Nodes {
    a: Repository,
    b: Repository,
    alice: Caller,
    database: Database,
    _folder: TempDir,
}

async fn node(database: &Database, folder: &Path, advertise: Option<&str>) -> Result<Repository, ClusterError> {
    node_at(database, folder, advertise, Arc::new(SystemClock)).await
}

/// A node to which it is as late as this clock says.
async fn node_at(
    database: &Database,
    folder: &Path,
    advertise: Option<&str>,
    clock: Arc<dyn Clock>,
) -> Result<Repository, ClusterError> {
    let records = Records::open_postgres(&database.url()).await.unwrap();
    let membership = Membership { advertise: advertise.map(str::to_owned), secret: b"a secret of the nodes".to_vec() };
    let cluster = Cluster::join(&records, membership, Arc::new(OsRandomness)).await?;
    let server = MediaServer {
        name: ServerName::parse("localhost").unwrap(),
        accounts: Accounts::Local(Local),
        admins: Arc::new(BTreeSet::new()),
    };
    let parts = Parts {
        records,
        blobs: Files::open_shared(folder, Arc::new(OsRandomness)).unwrap().into(),
        servers: vec![server],
        federation: nobody_elses(Arc::clone(&clock)),
        rules: rules(),
        clock,
        randomness: Arc::new(OsRandomness),
        cluster: Some(cluster),
    };
    Ok(Repository::open_all(parts).await.unwrap())
}

async fn until(what: &str, seen: impl AsyncFn() -> bool) {
    let looking = async {
        while !seen().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, looking).await.is_ok(), "waited in vain until {what}");
}

impl Nodes {
    async fn new() -> Self {
        Self::at(Arc::new(SystemClock)).await
    }

    async fn at(clock: Arc<dyn Clock>) -> Self {
        let database = Postgres::shared().database();
        let folder = TempDir::new().unwrap();
        let a = node_at(&database, folder.path(), Some("http://a"), Arc::clone(&clock)).await.unwrap();
        let b = node_at(&database, folder.path(), Some("http://b"), clock).await.unwrap();
        let nodes = Self { a, b, alice: user("@alice:localhost"), database, _folder: folder };
        for node in [&nodes.a, &nodes.b] {
            until("a node hears", async || !node.0.is_deaf()).await;
        }
        nodes
    }

    async fn sql(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.database.url()).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Cuts all connections that hear. They are made again, and have missed what is told meanwhile.
    async fn deafen(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").await;
    }

    async fn reserve(&self, kind: UploadKind) -> Mxc {
        let server_name = ServerName::parse("localhost").unwrap();
        self.a.reserve(&self.alice, crate::Reservation { server_name, kind }).await.unwrap().mxc
    }

    async fn put(&self, node: &Repository, mxc: &Mxc) -> Result<(), FulfilError> {
        let bytes = Bytes::from(vec![7; 100_000]);
        let body = stream::iter([Ok::<_, BodyError>(bytes)]);
        let upload = Upload {
            server_name: mxc.server_name.clone(),
            content_type: b"image/png".to_vec(),
            filename: None,
            content_length: None,
            kind: UploadKind::Kept,
        };
        node.fulfil(&self.alice, mxc, upload, None, body).await.map(drop)
    }

    async fn uploaded(&self, kind: UploadKind) -> Mxc {
        let mxc = self.reserve(kind).await;
        self.put(&self.a, &mxc).await.unwrap();
        mxc
    }

    async fn open(&self, node: &Repository, mxc: &Mxc, patience: Duration) -> Result<Opened, OpenError> {
        let request = DownloadRequest {
            wanted: Wanted::Whole,
            patience,
            from_origin: FromOrigin::Fetched,
            redacted: RedactedMedia::Hidden,
        };
        node.open(&self.alice, mxc, request).await
    }

    /// Begins to read on this node.
    async fn reading(&self, node: &Repository, mxc: &Mxc) -> crate::OpenedMedia {
        match self.open(node, mxc, Duration::ZERO).await.unwrap() {
            Opened::Stored(opened) => opened,
            Opened::Arriving(_) => panic!("it is stored"),
        }
    }
}

fn is_cut(opened: &crate::OpenedMedia) -> bool {
    opened.record.life.as_ref().is_some_and(crate::lives::Life::is_over)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_download_is_woken_by_an_upload_on_another_node() {
    let nodes = Nodes::new().await;
    let mxc = nodes.reserve(UploadKind::Kept).await;
    let mut waiting = Box::pin(nodes.open(&nodes.b, &mxc, Duration::from_mins(1)));
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err());

    nodes.put(&nodes.a, &mxc).await.unwrap();

    assert!(matches!(timeout(PATIENCE, waiting).await.unwrap(), Ok(Opened::Stored(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_download_is_woken_though_the_word_was_missed() {
    let nodes = Nodes::new().await;
    let mxc = nodes.reserve(UploadKind::Kept).await;
    let mut waiting = Box::pin(nodes.open(&nodes.b, &mxc, Duration::from_mins(1)));
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err());

    nodes.deafen().await;
    until("a node knows that it missed something", async || nodes.b.0.is_deaf()).await;
    nodes.put(&nodes.a, &mxc).await.unwrap();

    assert!(matches!(timeout(PATIENCE, waiting).await.unwrap(), Ok(Opened::Stored(_))));
    until("it hears again", async || !nodes.b.0.is_deaf()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_cuts_who_reads_on_another_node() {
    let nodes = Nodes::new().await;
    let mxc = nodes.uploaded(UploadKind::Ephemeral).await;
    let opened = nodes.reading(&nodes.b, &mxc).await;
    assert!(!is_cut(&opened));

    nodes.a.delete(&nodes.alice, &mxc).await.unwrap();

    until("it is cut", async || is_cut(&opened)).await;
    assert!(matches!(nodes.open(&nodes.b, &mxc, Duration::ZERO).await, Err(OpenError::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_without_a_word_is_cut_all_the_same() {
    let nodes = Nodes::new().await;
    let (mxc, other) = (nodes.uploaded(UploadKind::Ephemeral).await, nodes.uploaded(UploadKind::Ephemeral).await);
    let (opened, untouched) = (nodes.reading(&nodes.b, &mxc).await, nodes.reading(&nodes.b, &other).await);

    let deleter = Deleter::Owner(UserId::parse("@alice:localhost").unwrap());
    let delete = DeleteMedia { mxc, deleter, now: nodes.a.0.clock.now() };
    nodes.a.0.records.delete_media(delete).await.unwrap();

    until("it is cut", async || is_cut(&opened)).await;
    assert!(!is_cut(&untouched));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_is_not_answered_from_the_memory_of_another_node() {
    let nodes = Nodes::new().await;
    let mxc = nodes.uploaded(UploadKind::Kept).await;
    nodes.reading(&nodes.b, &mxc).await;
    assert!(nodes.b.0.remembered(&mxc).is_some());

    let alice = UserId::parse("@alice:localhost").unwrap();
    let removed = nodes.a.0.records.erase(alice, nodes.a.0.clock.now(), 10).await.unwrap();
    nodes.a.removed(&removed).await;

    until("it is forgotten", async || nodes.b.0.remembered(&mxc).is_none()).await;
    assert!(matches!(nodes.open(&nodes.b, &mxc, Duration::ZERO).await, Err(OpenError::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_missed_a_word_remembers_nothing() {
    let nodes = Nodes::new().await;
    let mxc = nodes.uploaded(UploadKind::Kept).await;
    nodes.reading(&nodes.b, &mxc).await;
    let alice = UserId::parse("@alice:localhost").unwrap();

    nodes.deafen().await;
    until("a node knows that it missed something", async || nodes.b.0.is_deaf()).await;
    nodes.a.0.records.erase(alice, nodes.a.0.clock.now(), 10).await.unwrap();

    assert!(matches!(nodes.open(&nodes.b, &mxc, Duration::ZERO).await, Err(OpenError::NotFound)));
    until("it hears again", async || !nodes.b.0.is_deaf()).await;
    assert!(matches!(nodes.open(&nodes.b, &mxc, Duration::ZERO).await, Err(OpenError::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_counts_on_every_node() {
    let nodes = Nodes::new().await;
    let before = nodes.b.0.endings.now();
    let alice = nodes.alice.requester.user().unwrap();

    nodes.a.forget_tokens(&TokensOf::User(alice.user_id.clone())).await;

    until("it is known", async || !nodes.b.0.endings.none_since(before, alice)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_held_is_free() {
    let nodes = Nodes::new().await;
    let mxc = nodes.reserve(UploadKind::Kept).await;
    let (a, b) = (nodes.a.cluster().unwrap(), nodes.b.cluster().unwrap());
    let lease = a.take("sweep:test").await.unwrap();
    assert!(matches!(&lease, crate::Take::Mine(lease) if lease.holds()));
    let first = a.node();
    assert!(matches!(b.take("sweep:test").await.unwrap(), crate::Take::Of(node) if node.id == first));
    let held = nodes.a.hold(&nodes.alice, &mxc, ClaimPartial::Replace(None)).await.unwrap();
    assert!(matches!(nodes.put(&nodes.b, &mxc).await, Err(FulfilError::BeingReceived)));

    // As another node does that has not seen it for too long.
    nodes.sql("DELETE FROM nodes WHERE address = 'http://a'").await;

    until("it knows that it was taken for dead", async || a.node() != first).await;
    assert!(matches!(&lease, crate::Take::Mine(lease) if !lease.holds()));
    until("the others have seen it", async || b.find(first).is_none() && b.find(a.node()).is_some()).await;
    assert!(matches!(b.take("sweep:test").await.unwrap(), crate::Take::Mine(_)));
    nodes.put(&nodes.b, &mxc).await.unwrap();
    held.give_back(None).await;
    assert!(matches!(nodes.open(&nodes.b, &mxc, Duration::ZERO).await, Ok(Opened::Stored(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_node_held_is_free_when_it_was_silent_for_too_long() {
    let nodes = Nodes::new().await;
    nodes.sql("INSERT INTO nodes SELECT 7, 'http://c', started_at, seen_at FROM nodes LIMIT 1").await;
    nodes.sql("INSERT INTO leases VALUES ('sweep:test', 7)").await;
    let b = nodes.b.cluster().unwrap();
    until("it is seen", async || b.find(NodeId(7)).is_some()).await;
    assert!(matches!(b.take("sweep:test").await.unwrap(), crate::Take::Of(node) if node.id == NodeId(7)));

    until("it is not any more", async || b.find(NodeId(7)).is_none()).await;

    assert!(matches!(b.take("sweep:test").await.unwrap(), crate::Take::Mine(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_gives_back_and_takes_again_is_its_own() {
    let nodes = Nodes::new().await;
    let (a, b) = (nodes.a.cluster().unwrap(), nodes.b.cluster().unwrap());
    for _ in 0..200 {
        drop(a.take("something").await.unwrap());

        let _lease = a.take("something").await.unwrap();

        assert!(matches!(b.take("something").await.unwrap(), crate::Take::Of(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_sweeps_for_all_and_another_one_when_it_is_gone() {
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let nodes = Nodes::at(Arc::<ManualClock>::clone(&clock)).await;
    let swept = |node: &Repository| metric(node, "reservations_expired_total");
    nodes.reserve(UploadKind::Kept).await;

    clock.advance(Duration::from_hours(2));

    until("it is swept", async || swept(&nodes.a) + swept(&nodes.b) > 0).await;
    let (sweeps, other) = if swept(&nodes.a) > 0 { (&nodes.a, &nodes.b) } else { (&nodes.b, &nodes.a) };
    nodes.reserve(UploadKind::Kept).await;
    clock.advance(Duration::from_hours(2));
    until("it is swept again", async || swept(sweeps) + swept(other) > 1).await;
    assert_eq!((swept(sweeps), swept(other)), (2, 0), "it is one node's work");
    let server_name = ServerName::parse("localhost").unwrap();
    other.reserve(&nodes.alice, crate::Reservation { server_name, kind: UploadKind::Kept }).await.unwrap();
    sweeps.close().await;
    clock.advance(Duration::from_hours(2));
    until("the other one does it", async || swept(other) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_to_be_alone_is() {
    let database = Postgres::shared().database();
    let folder = TempDir::new().unwrap();
    let alone = node(&database, folder.path(), None).await.unwrap();
    assert!(!alone.0.is_deaf());

    let another = node(&database, folder.path(), None).await;
    let of_many = node(&database, folder.path(), Some("http://a")).await;

    assert!(matches!(another, Err(ClusterError::NotAlone(_))));
    assert!(matches!(of_many, Err(ClusterError::BesideOneAlone)));
    alone.close().await;
    node(&database, folder.path(), Some("http://a")).await.unwrap();
}
