//! How often: a bucket of permissions for each user and each address.

mod shared;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DashMapStateStore,
};
use tintype_domain::{Requester, ServerName};
use tintype_http::forwarded::rate_key;

use self::shared::{Bucket, Shared};
pub use self::shared::{MAX_TAKEN_MESSAGE, MalformedTaken};
use crate::{Caller, ClusterKey, Hop, Rates, UploadKind};

/// Requests after which buckets that are full again are forgotten.
const TIDY_EVERY: u32 = 100_000;

/// A rate: so many per second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Permissions that come back per second.
    pub per_second: NonZeroU32,
    /// Permissions that can be saved up.
    pub burst: NonZeroU32,
}

/// Too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests")]
pub struct RateLimited {
    /// When it is allowed again.
    pub retry_after: Duration,
}

/// How many bursts a bucket owes at most for what other nodes gave.
const MAX_OWED_BURSTS: u32 = 64;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Create,
    Upload,
    Download,
    Thumbnail,
    Authenticate,
    ServeServer,
    FetchServer,
    Ephemeral,
}

impl Action {
    const ALL: [Self; 8] = [
        Self::Create,
        Self::Upload,
        Self::Download,
        Self::Thumbnail,
        Self::Authenticate,
        Self::ServeServer,
        Self::FetchServer,
        Self::Ephemeral,
    ];

    /// Its number between nodes, which never changes.
    fn number(self) -> u8 {
        match self {
            Self::Create => 1,
            Self::Upload => 2,
            Self::Download => 3,
            Self::Thumbnail => 4,
            Self::Authenticate => 5,
            Self::ServeServer => 6,
            Self::FetchServer => 7,
            Self::Ephemeral => 8,
        }
    }

    fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.number() == number)
    }
}

/// Keys are hashes with a secret: small, and nobody can aim for another's bucket.
type Buckets = RateLimiter<u64, DashMapStateStore<u64>, DefaultClock>;

/// What keys are made with.
enum Secret {
    /// Of this process.
    OfProcess(RandomState),
    /// Of all nodes, so that a key means the same on each.
    OfCluster(ClusterKey),
}

/// Whose bucket it is: what is said of one is never taken for another.
#[derive(Debug, Clone, Copy, Hash)]
enum Owner<'a> {
    User(&'a str),
    Server(&'a str),
    Address(IpAddr),
}

impl Secret {
    fn key(&self, owner: Owner<'_>) -> u64 {
        match self {
            Self::OfProcess(hasher) => hasher.hash_one(owner),
            Self::OfCluster(key) => match owner {
                Owner::User(id) => key.number_of(id.as_bytes()),
                Owner::Server(name) => key.number_of(format!("server {name}").as_bytes()),
                Owner::Address(address) => key.number_of(format!("address {address}").as_bytes()),
            },
        }
    }
}

pub(crate) struct Limiters {
    clock: DefaultClock,
    secret: Secret,
    rates: Rates,
    /// Where there are other nodes.
    shared: Option<Shared>,
    create: Buckets,
    upload: Buckets,
    download: Buckets,
    thumbnail: Buckets,
    authenticate: Buckets,
    serve_server: Buckets,
    fetch_server: Buckets,
    ephemeral: Buckets,
    checks: AtomicU32,
}

impl Limiters {
    /// Full buckets. With the key of a cluster they are those of all of its nodes together.
    pub(crate) fn new(rates: Rates, cluster: Option<ClusterKey>) -> Self {
        let buckets = |rate: Rate| RateLimiter::dashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst));
        Self {
            clock: DefaultClock::default(),
            shared: cluster.is_some().then(Shared::default),
            secret: cluster.map_or_else(|| Secret::OfProcess(RandomState::new()), Secret::OfCluster),
            rates,
            create: buckets(rates.create),
            upload: buckets(rates.upload),
            download: buckets(rates.download),
            thumbnail: buckets(rates.thumbnail),
            authenticate: buckets(rates.authenticate),
            serve_server: buckets(rates.serve_server),
            fetch_server: buckets(rates.fetch_server),
            ephemeral: buckets(rates.ephemeral),
            checks: AtomicU32::new(1),
        }
    }

    /// Takes one permission from the caller's bucket: the user's, the server's whatever it asks for, or the address's where
    /// there is neither. For a request of another node it was taken there.
    pub(crate) fn check(&self, action: Action, caller: &Caller) -> Result<(), RateLimited> {
        match &caller.requester {
            _ if caller.hop == Hop::Relayed => Ok(()),
            Requester::User(user) => self.take(action, Owner::User(user.user_id.as_str())),
            Requester::Server(server) => self.take(Action::ServeServer, Owner::Server(server.as_str())),
            Requester::Anonymous => self.take(action, Owner::Address(rate_key(caller.address))),
        }
    }

    /// Takes one permission for media of this kind, beside the one that every upload takes.
    pub(crate) fn check_kind(&self, kind: UploadKind, caller: &Caller) -> Result<(), RateLimited> {
        match kind {
            UploadKind::Kept | UploadKind::Restricted => Ok(()),
            UploadKind::Ephemeral => self.check(Action::Ephemeral, caller),
        }
    }

    /// Takes one permission to ask this server for media.
    pub(crate) fn check_fetch(&self, origin: &ServerName) -> Result<(), RateLimited> {
        self.take(Action::FetchServer, Owner::Server(origin.as_str()))
    }

    /// Takes one permission from the address's bucket. An IPv6 address counts with its whole /64.
    pub(crate) fn check_address(&self, action: Action, address: IpAddr, hop: Hop) -> Result<(), RateLimited> {
        match hop {
            Hop::First => self.take(action, Owner::Address(rate_key(address))),
            Hop::Relayed => Ok(()),
        }
    }

    /// What was taken here since this was last asked, for the other nodes; empty where it was nothing.
    pub(crate) fn taken(&self) -> Vec<u8> {
        self.shared.as_ref().map(Shared::message).unwrap_or_default()
    }

    /// Takes what another node has given.
    pub(crate) fn hear(&self, message: &[u8]) -> Result<(), MalformedTaken> {
        let Some(shared) = &self.shared else { return Ok(()) };
        shared.hear(message, |action| self.rate(action).burst.get().saturating_mul(MAX_OWED_BURSTS))
    }

    /// Has all buckets pay what they owe for what other nodes gave, as far as there is something in them.
    pub(crate) fn settle(&self) {
        if let Some(shared) = &self.shared {
            shared.settle_all(|bucket, owed| self.pay(bucket, owed));
        }
    }

    fn take(&self, action: Action, owner: Owner<'_>) -> Result<(), RateLimited> {
        let key = self.secret.key(owner);
        let bucket = Bucket { action, key };
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_EVERY) {
            for action in Action::ALL {
                self.buckets(action).retain_recent();
            }
        }
        if let Some(shared) = &self.shared {
            let owed = shared.settle(bucket, |owed| self.pay(bucket, owed));
            if owed > 0 {
                let rate = self.rate(action).per_second.get();
                let retry_after = Duration::from_secs(1) * owed.saturating_add(1) / rate;
                return Err(RateLimited { retry_after });
            }
        }
        let taken = self.buckets(action).check_key(&key);
        taken.map_err(|refusal| RateLimited { retry_after: refusal.wait_time_from(self.clock.now()) })?;
        if let Some(shared) = &self.shared {
            shared.took(bucket);
        }
        Ok(())
    }

    /// Takes so many permissions from the bucket, or as many as there are. Returns how many.
    fn pay(&self, Bucket { action, key }: Bucket, owed: u32) -> u32 {
        let buckets = self.buckets(action);
        let mut paid = 0;
        // They are given all or none: so first many at once, then fewer.
        let mut step = owed.min(self.rate(action).burst.get());
        while let Some(many) = NonZeroU32::new(step) {
            while paid + step <= owed && matches!(buckets.check_key_n(&key, many), Ok(Ok(()))) {
                paid += step;
            }
            step /= 2;
        }
        paid
    }

    fn buckets(&self, action: Action) -> &Buckets {
        match action {
            Action::Create => &self.create,
            Action::Upload => &self.upload,
            Action::Download => &self.download,
            Action::Thumbnail => &self.thumbnail,
            Action::Authenticate => &self.authenticate,
            Action::ServeServer => &self.serve_server,
            Action::FetchServer => &self.fetch_server,
            Action::Ephemeral => &self.ephemeral,
        }
    }

    fn rate(&self, action: Action) -> Rate {
        let Rates { create, upload, download, thumbnail, authenticate, serve_server, fetch_server, ephemeral } =
            self.rates;
        match action {
            Action::Create => create,
            Action::Upload => upload,
            Action::Download => download,
            Action::Thumbnail => thumbnail,
            Action::Authenticate => authenticate,
            Action::ServeServer => serve_server,
            Action::FetchServer => fetch_server,
            Action::Ephemeral => ephemeral,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// So slow that nothing comes back while a test runs.
    fn node(burst: u32) -> Limiters {
        let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(burst).unwrap() };
        let rates = Rates {
            create: rate,
            upload: rate,
            download: rate,
            thumbnail: rate,
            authenticate: rate,
            serve_server: rate,
            fetch_server: rate,
            ephemeral: rate,
        };
        Limiters::new(rates, Some(ClusterKey::new(b"secret", "rates")))
    }

    fn take(node: &Limiters) -> Result<(), RateLimited> {
        node.check_address(Action::Download, ADDRESS, Hop::First)
    }

    #[test]
    fn what_was_taken_on_one_node_is_gone_on_another() {
        let (one, other) = (node(10), node(10));
        for _ in 0..7 {
            take(&one).unwrap();
        }

        other.hear(&one.taken()).unwrap();

        for _ in 0..3 {
            take(&other).unwrap();
        }
        take(&other).unwrap_err();
    }

    #[test]
    fn what_two_nodes_gave_too_much_comes_back_before_anything_is_given() {
        let (one, other) = (node(10), node(10));
        for node in [&one, &other] {
            for _ in 0..10 {
                take(node).unwrap();
            }
        }

        other.hear(&one.taken()).unwrap();
        other.settle();

        let RateLimited { retry_after } = take(&other).unwrap_err();
        assert!(retry_after > Duration::from_secs(9), "{retry_after:?}");
    }

    #[test]
    fn other_actions_and_other_addresses_are_not_touched() {
        let (one, other) = (node(1), node(1));
        take(&one).unwrap();

        other.hear(&one.taken()).unwrap();

        other.check_address(Action::Upload, ADDRESS, Hop::First).unwrap();
        other.check_address(Action::Download, "192.0.2.2".parse().unwrap(), Hop::First).unwrap();
        take(&other).unwrap_err();
    }

    #[test]
    fn for_a_request_of_another_node_nothing_is_taken() {
        let node = node(1);

        for _ in 0..3 {
            node.check_address(Action::Download, ADDRESS, Hop::Relayed).unwrap();
        }

        assert!(node.taken().is_empty());
    }

    #[test]
    fn every_action_has_a_number_of_its_own() {
        for action in Action::ALL {
            assert_eq!(Action::numbered(action.number()), Some(action));
        }
    }
}
