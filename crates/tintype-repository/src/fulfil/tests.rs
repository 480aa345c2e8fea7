//! A reservation under requests that end anywhere: on real storage, without HTTP.

mod announced;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU32, NonZeroUsize},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tempfile::TempDir;
use tintype_domain::{ManualClock, OsRandomness, Requester, ServerName, User, UserId};
use tintype_federation::{
    AddressFilter, Federation, FederationParts, FetchTimes, Outbound, OutboundParts, Peers, Ports,
};
use tintype_storage::{
    blobs::Files,
    records::{Claim, InsertReservation, MediaKind, Quota, Records},
};
use tintype_thumbnails::Limits;
use tokio::{runtime::Handle, time::timeout};

use super::*;
use crate::{
    Accounts, Append, EphemeralRules, Fate, Freeze, Hop, LinkedRules, Local, MediaServer, Parts, Rate, Rates,
    RedirectRules, RemoteRules, RemoteThumbnails, Rules, ScrubRules, ThumbnailRules, UploadKind, UploadProgress,
    WaitingLimits,
};

/// How long something may take that has to happen: long enough for any machine, and waited for only by a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Polls a request in a test that has to end before this.
const MANY_POLLS: usize = 200;

/// What the repository counts under this name.
pub(crate) fn metric(repository: &Repository, name: &str) -> i64 {
    let mut registry = Registry::default();
    repository.register_metrics(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("there is no metric {name}"))
}

const LIFETIME: Duration = Duration::from_hours(1);

struct Installation {
    repository: Repository,
    clock: Arc<ManualClock>,
    creator: Caller,
    folder: TempDir,
}

pub(crate) fn rules() -> Rules {
    let often = Rate { per_second: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    Rules {
        scrub: ScrubRules { every: None, bytes_per_second: u64::MAX },
        max_upload_size: 1024 * 1024,
        inline_size: 16,
        gathered_size: 16,
        quota: Quota::UNLIMITED,
        max_pending_uploads: 1_000,
        unused_expires_after: Some(LIFETIME),
        max_wait: Duration::from_mins(1),
        waiting: WaitingLimits { total: 100, per_user: 100 },
        stream: true,
        limit_info_uri: None,
        rates: Rates {
            create: often,
            upload: often,
            download: often,
            thumbnail: often,
            authenticate: often,
            serve_server: often,
            fetch_server: often,
            ephemeral: often,
        },
        freeze: Freeze::Never,
        freeze_exceptions: BTreeSet::new(),
        remote: RemoteRules {
            max_size: 1024 * 1024,
            thumbnails: RemoteThumbnails::FromOrigin,
            answer_time: Duration::from_secs(1),
            cache_bytes: None,
            cache_age: None,
        },
        ephemeral: EphemeralRules { max_age: None, quota: Quota::UNLIMITED },
        linked: LinkedRules {
            unattached_after: Duration::from_hours(24),
            max_attachments: 20,
            block_unrestricted: false,
            unswept_users: BTreeSet::new(),
            redaction_grace: Duration::ZERO,
            unlinked_redaction: Fate::Kept,
            abandoned_rooms: Fate::Kept,
            left_rooms_grace: Duration::ZERO,
        },
        thumbnails: ThumbnailRules { threads: NonZeroUsize::new(1), queue: 1, limits: Limits::default(), max_sizes: 1 },
        redirect: RedirectRules::never(),
        token_cache_time: Duration::from_secs(1),
        cache_bytes: 1024 * 1024,
        cache_time: Duration::from_mins(1),
    }
}

/// Other servers, of which none is asked here.
pub(crate) fn nobody_elses(clock: Arc<dyn tintype_domain::Clock>) -> Federation {
    let outbound = Outbound::new(OutboundParts {
        filter: AddressFilter::new(Vec::new()),
        extra_roots: Vec::new(),
        nameservers: vec![(Ipv4Addr::LOCALHOST, 1).into()],
        ports: Ports::default(),
        connect_timeout: Duration::from_secs(1),
        clock: Arc::clone(&clock),
        runtime: Handle::current(),
    });
    Federation::new(FederationParts {
        outbound: outbound.unwrap(),
        key_servers: Vec::new(),
        peers: Peers::default(),
        signing_keys: BTreeMap::new(),
        times: FetchTimes {
            answer: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            total: Duration::from_secs(1),
        },
        clock,
    })
}

pub(crate) fn user(id: &str) -> Caller {
    let user_id = UserId::parse(id).unwrap();
    let user = User { user_id, device_id: None, guest: false, admin: false };
    Caller {
        requester: Requester::User(Arc::new(user)),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        access: None,
        hop: Hop::First,
    }
}

impl Installation {
    async fn new() -> Self {
        Self::in_folder(TempDir::new().unwrap()).await
    }

    async fn in_folder(folder: TempDir) -> Self {
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
            rules: rules(),
            clock: Arc::clone(&clock) as Arc<dyn tintype_domain::Clock>,
            randomness: Arc::new(OsRandomness),
            cluster: None,
        });
        Self { repository: repository.await.unwrap(), clock, creator: user("@alice:localhost"), folder }
    }

    async fn reserve(&self) -> Mxc {
        let server_name = ServerName::parse("localhost").unwrap();
        let reservation = crate::Reservation { server_name, kind: UploadKind::Kept };
        self.repository.reserve(&self.creator, reservation).await.unwrap().mxc
    }

    async fn put(
        &self,
        mxc: &Mxc,
        resumable: Option<Resumable>,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Fulfilled, FulfilError> {
        let upload = Upload {
            server_name: mxc.server_name.clone(),
            content_type: b"image/png".to_vec(),
            filename: None,
            content_length: None,
            kind: UploadKind::Kept,
        };
        self.repository.fulfil(&self.creator, mxc, upload, resumable, body).await
    }

    async fn append(
        &self,
        mxc: &Mxc,
        offset: u64,
        completion: Completion,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<Fulfilled, FulfilError> {
        let resumable = Resumable { completion, length: None };
        let append = Append { offset, resumable, content_length: None };
        self.repository.append(&self.creator, mxc, append, body).await
    }

    /// How far the upload has come, as soon as no request holds its reservation.
    async fn progress(&self, mxc: &Mxc) -> Result<UploadProgress, FulfilError> {
        let progress = async {
            loop {
                match self.repository.upload_progress(&self.creator, mxc).await {
                    Err(FulfilError::BeingReceived) => tokio::task::yield_now().await,
                    outcome => return outcome,
                }
            }
        };
        timeout(PATIENCE, progress).await.unwrap_or(Err(FulfilError::BeingReceived))
    }

    fn metric(&self, name: &str) -> i64 {
        metric(&self.repository, name)
    }

    fn partial_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("media/partial")).unwrap().count()
    }
}

const RESUMABLE: Option<Resumable> = Some(Resumable { completion: Completion::Complete, length: None });

fn pieces(pieces: &'static [&'static str]) -> impl Stream<Item = Result<Bytes, BodyError>> + Unpin {
    stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
}

/// Ends in a connection that broke.
fn broken(bytes: &'static str) -> impl Stream<Item = Result<Bytes, BodyError>> + Unpin {
    stream::iter([Ok(Bytes::from_static(bytes.as_bytes())), Err(BodyError::Broken("the client is gone".to_owned()))])
}

/// Polls a request so many times, and drops it when it could go on: as the server does when the client goes away. What
/// it came to, if it ended before.
async fn polled<F: Future>(request: F, times: usize) -> Option<F::Output> {
    let mut request = pin!(request);
    let mut polls = 0;
    poll_fn(|context| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        request.as_mut().poll(context).map(Some)
    })
    .await
}

const BODY: &[&str] = &["more bytes than ", "live in the database", ", in three pieces"];

#[tokio::test]
async fn a_plain_upload_that_is_dropped_anywhere_gives_its_reservation_back() {
    let installation = Installation::new().await;
    for polls in 1..MANY_POLLS {
        let mxc = installation.reserve().await;

        let ended = polled(installation.put(&mxc, None, pieces(BODY)), polls).await;

        let progress = installation.progress(&mxc).await;
        match progress {
            Ok(UploadProgress::Kept(kept)) => assert_eq!(kept.offset, 0, "after {polls} polls"),
            // It was whole when it was dropped.
            Ok(UploadProgress::Stored { size }) => assert_eq!(size, 53, "after {polls} polls"),
            Err(error) => panic!("after {polls} polls: {error}"),
        }
        if ended.is_some() {
            return;
        }
    }
    panic!("the upload never ended");
}

#[tokio::test]
async fn a_resumable_upload_that_is_dropped_anywhere_gives_its_reservation_back() {
    let installation = Installation::new().await;
    for polls in 1..MANY_POLLS {
        let mxc = installation.reserve().await;

        let ended = polled(installation.put(&mxc, RESUMABLE, pieces(BODY)), polls).await;

        if let Err(error) = installation.progress(&mxc).await {
            panic!("after {polls} polls: {error}");
        }
        if ended.is_some() {
            return;
        }
    }
    panic!("the upload never ended");
}

#[tokio::test]
async fn an_upload_in_place_of_an_interrupted_one_that_is_dropped_anywhere_gives_its_reservation_back() {
    let installation = Installation::new().await;
    for polls in 1..MANY_POLLS {
        let mxc = installation.reserve().await;
        installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();

        let ended = polled(installation.put(&mxc, None, pieces(BODY)), polls).await;

        if let Err(error) = installation.progress(&mxc).await {
            panic!("after {polls} polls: {error}");
        }
        if ended.is_some() {
            return;
        }
    }
    panic!("the upload never ended");
}

#[tokio::test]
async fn a_continuation_that_is_dropped_anywhere_loses_nothing_that_was_kept() {
    let installation = Installation::new().await;
    for polls in 1..MANY_POLLS {
        let mxc = installation.reserve().await;
        installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();

        let ended = polled(installation.append(&mxc, 32, Completion::Incomplete, pieces(BODY)), polls).await;

        match installation.progress(&mxc).await {
            Ok(UploadProgress::Kept(kept)) => assert!(kept.offset >= 32, "after {polls} polls: {kept:?}"),
            other => panic!("after {polls} polls: {other:?}"),
        }
        if ended.is_some() {
            return;
        }
    }
    panic!("the continuation never ended");
}

/// Whether the file is open at the first look is chance: so it is tried often.
#[tokio::test]
async fn an_attempt_that_is_dropped_while_it_opens_what_was_kept_loses_nothing_of_it() {
    let installation = Installation::new().await;
    let repository = &installation.repository;
    for round in 0..50 {
        let mxc = installation.reserve().await;
        installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();
        let held = repository.hold(&installation.creator, &mxc, ClaimPartial::Keep).await.unwrap();
        let name = held.reservation.partial.as_ref().unwrap().name.clone();
        let mut attempt = Attempt::new(held, Labels::unknown(), None, Some(name));

        let _ = polled(attempt.resume(32), 1).await;
        drop(attempt);

        assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 32), "in round {round}");
    }
}

#[tokio::test]
async fn a_cancellation_that_is_dropped_anywhere_gives_its_reservation_back() {
    let installation = Installation::new().await;
    for polls in 1..MANY_POLLS {
        let mxc = installation.reserve().await;
        installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();

        let ended = polled(installation.repository.cancel_upload(&installation.creator, &mxc), polls).await;

        if let Err(error) = installation.progress(&mxc).await {
            panic!("after {polls} polls: {error}");
        }
        if ended.is_some() {
            assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 0));
            return;
        }
    }
    panic!("the cancellation never ended");
}

fn kept(installation: &Installation, offset: u64) -> UploadProgress {
    let expires_at = tintype_domain::Clock::now(&*installation.clock) + LIFETIME;
    UploadProgress::Kept(Kept { offset, length: None, expires_at })
}

#[tokio::test]
async fn a_creation_that_is_dropped_anywhere_is_counted_if_it_was_made() {
    let installation = Installation::new().await;
    for polls in 1..MANY_POLLS {
        let server_name = ServerName::parse("localhost").unwrap();
        let reservation = crate::Reservation { server_name, kind: UploadKind::Kept };
        let ended = polled(installation.repository.reserve(&installation.creator, reservation), polls).await;

        // A later write is committed after it.
        installation.reserve().await;
        let pending = i64::try_from(installation.repository.0.records.pending().await.unwrap()).unwrap();
        assert_eq!(installation.metric("reservations_pending"), pending, "after {polls} polls");
        if ended.is_some() {
            return;
        }
    }
    panic!("the creation never ended");
}

#[tokio::test]
async fn what_no_reservation_names_any_more_goes_and_what_one_names_stays() {
    let installation = Installation::new().await;
    let first = installation.reserve().await;
    installation.put(&first, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();
    let inner = &installation.repository.0;
    let named = async || inner.records.partials().await.unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let before = named().await;
    installation.clock.advance(LIFETIME / 2);
    let later = installation.reserve().await;
    installation.put(&later, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();
    installation.clock.advance(LIFETIME / 2 + Duration::from_secs(1));
    // As at another node, which has not got the file.
    inner.records.expire(tintype_domain::Clock::now(&*installation.clock), 10).await.unwrap();
    let after = named().await;
    assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?} {after:?}");

    crate::leftovers::remove(inner).await.unwrap();

    assert_eq!(inner.blobs.folders()[0].partial_names().await.unwrap(), after);
}

#[tokio::test]
async fn a_continuation_somewhere_else_leaves_what_was_kept() {
    let installation = Installation::new().await;
    let mxc = installation.reserve().await;
    installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();

    let outcome = installation.append(&mxc, 31, Completion::Complete, pieces(BODY)).await;

    assert!(matches!(outcome, Err(FulfilError::WrongOffset { expected: 32, provided: 31 })), "{outcome:?}");
    assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 32));
    installation.append(&mxc, 32, Completion::Complete, pieces(&["!"])).await.unwrap();
    assert_eq!(installation.progress(&mxc).await.unwrap(), UploadProgress::Stored { size: 33 });
}

#[tokio::test]
async fn nobody_is_held_for_an_upload_whose_node_was_taken_for_dead() {
    let installation = Installation::new().await;
    let mxc = installation.reserve().await;
    let inner = Arc::clone(&installation.repository.0);
    // As the other nodes do it while this one is paused; then the client is gone.
    let death = stream::once(async move {
        inner.records.release_all().await.unwrap();
        Err(BodyError::Broken("the client is gone".to_owned()))
    });

    let outcome = installation.put(&mxc, RESUMABLE, pieces(BODY).chain(Box::pin(death))).await;

    assert!(outcome.is_err(), "{outcome:?}");
    assert!(installation.repository.0.arrivals.arriving(&mxc).is_none());
    assert_eq!(installation.partial_files(), 0);
    assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 0));
}

#[tokio::test]
async fn nobody_is_held_any_more_when_words_may_have_been_missed() {
    let installation = Installation::new().await;
    let mxc = installation.reserve().await;
    installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();
    assert!(installation.repository.0.arrivals.arriving(&mxc).is_some());

    installation.repository.0.forget_everything();

    assert!(installation.repository.0.arrivals.arriving(&mxc).is_none());
    assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 32));
}

#[tokio::test]
async fn nothing_is_left_of_an_upload_that_brought_too_much() {
    let installation = Installation::new().await;
    let mxc = installation.reserve().await;
    let resumable = Some(Resumable { completion: Completion::Complete, length: Some(20) });

    let outcome = installation.put(&mxc, resumable, pieces(BODY)).await;

    assert!(matches!(outcome, Err(FulfilError::InconsistentLength(_))), "{outcome:?}");
    assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 0));
    assert_eq!(installation.partial_files(), 0);
}

#[tokio::test]
async fn pending_uploads_are_counted_down_once_each() {
    let installation = Installation::new().await;
    let (stored, refused, unused) =
        (installation.reserve().await, installation.reserve().await, installation.reserve().await);
    installation.put(&stored, None, pieces(BODY)).await.unwrap();
    installation.put(&refused, None, broken("half of it")).await.unwrap_err();
    assert_eq!(installation.metric("reservations_pending"), 2);

    installation.clock.advance(LIFETIME);

    let swept = async {
        while installation.metric("reservations_expired_total") < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, swept).await.unwrap();
    assert_eq!(installation.metric("reservations_pending"), 0);
    for mxc in [refused, unused] {
        assert!(matches!(installation.progress(&mxc).await, Err(FulfilError::NotFound)));
    }
}

#[tokio::test]
async fn what_an_interrupted_upload_left_goes_when_its_reservation_expires() {
    let installation = Installation::new().await;
    let mxc = installation.reserve().await;
    installation.put(&mxc, RESUMABLE, broken("what an earlier request has left")).await.unwrap_err();
    assert_eq!(installation.partial_files(), 1);

    installation.clock.advance(LIFETIME);

    let swept = async {
        while installation.partial_files() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, swept).await.unwrap();
    assert!(installation.repository.0.arrivals.arriving(&mxc).is_none());
}

/// What a process leaves that is killed: a resumable upload of which `recorded` bytes are in the records, and `written`
/// ones in its file.
async fn killed(folder: &TempDir, recorded: u64, written: &'static [u8]) -> (Mxc, PartialName) {
    let (records, blobs) = storage(folder).await;
    let mxc: Mxc = "mxc://localhost/killed".parse().unwrap();
    let creator = UserId::parse("@alice:localhost").unwrap();
    let reservation = InsertReservation {
        mxc: mxc.clone(),
        creator: creator.clone(),
        created_at: Timestamp(1_000_000),
        expires_at: Timestamp(1_000_000) + LIFETIME,
        max_pending: 1,
        kind: MediaKind::Kept,
    };
    records.reserve(reservation).await.unwrap();
    let name = PartialName::random(&OsRandomness);
    let partial = Labels::unknown().partial(name.clone(), recorded, None);
    let partial = ClaimPartial::Replace(Some(partial));
    let claim = Claim { mxc: mxc.clone(), user: creator, now: Timestamp(1_000_000), holder: 1, partial };
    records.claim(claim).await.unwrap();
    let mut incoming = blobs.receive_partial(&name).await.unwrap();
    incoming.write(Bytes::from_static(written)).await.unwrap();
    incoming.pause().await.unwrap();
    records.close().await;
    (mxc, name)
}

async fn storage(folder: &TempDir) -> (Records, Files) {
    let records = Records::open_sqlite(&folder.path().join("records.db")).await.unwrap();
    (records, Files::open(&folder.path().join("media"), Arc::new(OsRandomness)).unwrap())
}

#[tokio::test]
async fn bytes_that_were_not_recorded_when_the_process_was_killed_take_no_room_afterwards() {
    for (recorded, written) in [(0, &b"bytes that nobody was told of"[..]), (5, b"bytes that nobody was told of")] {
        let folder = TempDir::new().unwrap();
        let (mxc, name) = killed(&folder, recorded, written).await;

        let installation = Installation::in_folder(folder).await;

        assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, recorded));
        let file = installation.folder.path().join("media/partial").join(name.as_str());
        assert_eq!(file.metadata().map_or(0, |metadata| metadata.len()), recorded);
    }
}

#[tokio::test]
async fn recorded_bytes_survive_a_kill_between_the_last_byte_and_the_record_of_the_upload() {
    let folder = TempDir::new().unwrap();
    let (mxc, name) = killed(&folder, 32, b"what an earlier request has left").await;
    let (records, blobs) = storage(&folder).await;
    let mut incoming = blobs.resume(&name, 32).await.unwrap();
    incoming.write(Bytes::from_static(b"!")).await.unwrap();
    blobs.publish(incoming.finish().await.unwrap()).await.unwrap();
    drop(blobs);
    records.close().await;

    let installation = Installation::in_folder(folder).await;

    assert_eq!(installation.progress(&mxc).await.unwrap(), kept(&installation, 32));
}
