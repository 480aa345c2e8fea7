//! How often: a bucket of permissions for each user and each address.

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

use crate::{Caller, Rates, UploadKind};

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

/// What is limited.
#[derive(Debug, Clone, Copy)]
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

/// Keys are hashes with a secret of this process: small, and nobody can aim for another's bucket.
type Buckets = RateLimiter<u64, DashMapStateStore<u64>, DefaultClock>;

pub(crate) struct Limiters {
    clock: DefaultClock,
    hasher: RandomState,
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
    pub(crate) fn new(rates: &Rates) -> Self {
        let buckets = |rate: Rate| RateLimiter::dashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst));
        Self {
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
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
    /// there is neither.
    pub(crate) fn check(&self, action: Action, caller: &Caller) -> Result<(), RateLimited> {
        match &caller.requester {
            Requester::User(user) => self.take(action, self.hasher.hash_one(user.user_id.as_bytes())),
            Requester::Server(server) => self.take(Action::ServeServer, self.hasher.hash_one(server.as_bytes())),
            Requester::Anonymous => self.check_address(action, caller.address),
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
        self.take(Action::FetchServer, self.hasher.hash_one(origin.as_bytes()))
    }

    /// Takes one permission from the address's bucket. An IPv6 address counts with its whole /64.
    pub(crate) fn check_address(&self, action: Action, address: IpAddr) -> Result<(), RateLimited> {
        self.take(action, self.hasher.hash_one(rate_key(address)))
    }

    fn take(&self, action: Action, key: u64) -> Result<(), RateLimited> {
        let buckets = match action {
            Action::Create => &self.create,
            Action::Upload => &self.upload,
            Action::Download => &self.download,
            Action::Thumbnail => &self.thumbnail,
            Action::Authenticate => &self.authenticate,
            Action::ServeServer => &self.serve_server,
            Action::FetchServer => &self.fetch_server,
            Action::Ephemeral => &self.ephemeral,
        };
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_EVERY) {
            let of_users = [&self.create, &self.upload, &self.download, &self.thumbnail, &self.authenticate];
            for buckets in of_users.into_iter().chain([&self.serve_server, &self.fetch_server, &self.ephemeral]) {
                buckets.retain_recent();
            }
        }
        buckets.check_key(&key).map_err(|refusal| RateLimited { retry_after: refusal.wait_time_from(self.clock.now()) })
    }
}
