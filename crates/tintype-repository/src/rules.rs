//! What an operator allows. The binary reads the configuration and fills this in.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};

use tintype_domain::{Mxc, OwnedServerName, OwnedUserId, Timestamp};
use tintype_storage::records::{Naming, Quota};
use tintype_thumbnails::Limits;

use crate::{Accounts, Rate, RedirectRules, WaitingLimits};

/// A server whose media is kept here.
#[derive(Debug, Clone)]
pub struct MediaServer {
    /// Its name: the first part of its media's MXC URIs.
    pub name: OwnedServerName,
    /// Who knows its accounts.
    pub accounts: Accounts,
    /// Its users who administer media.
    pub admins: Arc<BTreeSet<OwnedUserId>>,
}

/// From when on media is not served on the deprecated, unauthenticated endpoints (MSC3916, part 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    /// All media is served there.
    Never,
    /// Nothing that was stored since this installation first started.
    FromFirstStart,
    /// Nothing that was stored at or after this time.
    From(Timestamp),
}

/// How often one user, or one address, may do something.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// URIs reserved for a later upload, per user.
    pub create: Rate,
    /// Uploads, per user.
    pub upload: Rate,
    /// Downloads, per user, or per address on the deprecated endpoints.
    pub download: Rate,
    /// Thumbnails, likewise.
    pub thumbnail: Rate,
    /// Access tokens, and signatures of servers, that have to be looked up, per address.
    pub authenticate: Rate,
    /// Requests for media by another server, per server.
    pub serve_server: Rate,
    /// Fetches of media from another server, per server.
    pub fetch_server: Rate,
    /// Ephemeral media created, uploaded or deleted, per user.
    pub ephemeral: Rate,
}

/// What thumbnails may cost.
#[derive(Debug, Clone, Copy)]
pub struct ThumbnailRules {
    /// Threads that make them; one per core if not given.
    pub threads: Option<NonZeroUsize>,
    /// Requests that may wait for a thread.
    pub queue: usize,
    /// What one picture may cost.
    pub limits: Limits,
    /// Sizes kept for one picture.
    pub max_sizes: u32,
}

/// Where thumbnails of media come from that is another server's and is not kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteThumbnails {
    /// The media's origin is asked for the thumbnail: it is smaller than the media.
    FromOrigin,
    /// The media is fetched, and the thumbnail made here.
    MadeHere,
}

/// Ephemeral media (MSC4425).
#[derive(Debug, Clone, Copy)]
pub struct EphemeralRules {
    /// How long after its upload it ends by itself; never, if not given.
    pub max_age: Option<Duration>,
    /// What each user may have stored of it.
    pub quota: Quota,
}

/// What becomes of media that nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is kept.
    Kept,
    /// It is deleted.
    Deleted,
}

/// Media that belongs to an event or a profile (MSC3911).
#[derive(Debug, Clone)]
pub struct LinkedRules {
    /// How long restricted media that is attached to nothing is kept.
    pub unattached_after: Duration,
    /// How many pieces of media one event may have.
    pub max_attachments: usize,
    /// Whether plain uploads are refused.
    pub block_unrestricted: bool,
    /// Users, beside administrators, whose restricted media stays though it is attached to nothing.
    pub unswept_users: BTreeSet<OwnedUserId>,
    /// How long after a redaction the bytes are kept.
    pub redaction_grace: Duration,
    /// What becomes of media that is attached to nothing when a message that names it is redacted.
    pub unlinked_redaction: Fate,
    /// What becomes of attached media of ours when nobody is in its room any more.
    pub abandoned_rooms: Fate,
    /// How long copies of attached media of others are kept after the last of our users has left the room.
    pub left_rooms_grace: Duration,
}

impl LinkedRules {
    /// Whether it has to be known which events name which media.
    pub(crate) fn naming(&self) -> Naming {
        match self.unlinked_redaction {
            Fate::Kept => Naming::Ignored,
            Fate::Deleted => Naming::Noted,
        }
    }
}

/// Media of other servers.
#[derive(Debug, Clone, Copy)]
pub struct RemoteRules {
    /// The size of the largest media that is taken, in bytes.
    pub max_size: u64,
    /// Where thumbnails come from.
    pub thumbnails: RemoteThumbnails,
    /// How long another server may take to begin its answer.
    pub answer_time: Duration,
    /// What is kept, in bytes; no limit if not given.
    pub cache_bytes: Option<u64>,
    /// How long it is kept after it was last used; for ever, if not given.
    pub cache_age: Option<Duration>,
}

/// How often it is checked whether blobs still are what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubRules {
    /// Each of them once in this time; never, if not given.
    pub every: Option<Duration>,
    /// How much is read for that in a second, in bytes.
    pub bytes_per_second: u64,
}

/// All rules.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How often all blobs are checked.
    pub scrub: ScrubRules,
    /// The size of the largest upload, in bytes.
    pub max_upload_size: u64,
    /// Bodies up to this size, in bytes, live in the records.
    pub inline_size: usize,
    /// Bodies up to this size, in bytes, are gathered in memory while they arrive; at least `inline_size`.
    pub gathered_size: usize,
    /// What each user may store.
    pub quota: Quota,
    /// URIs that one user may have reserved without having uploaded to them.
    pub max_pending_uploads: u64,
    /// How long a reserved URI waits for its upload; for ever, if not given.
    pub unused_expires_after: Option<Duration>,
    /// The longest that a request waits for media that was promised.
    pub max_wait: Duration,
    /// How many requests may wait.
    pub waiting: WaitingLimits,
    /// Whether downloads are served from uploads that are still arriving.
    pub stream: bool,
    /// Where a user who reached the quota can read more: without it, an error that does not need it is sent.
    pub limit_info_uri: Option<String>,
    /// Rate limits.
    pub rates: Rates,
    /// The freeze.
    pub freeze: Freeze,
    /// What is never frozen: pictures that are shown to people who have not logged in.
    pub freeze_exceptions: BTreeSet<Mxc>,
    /// Media of other servers.
    pub remote: RemoteRules,
    /// Ephemeral media.
    pub ephemeral: EphemeralRules,
    /// Linked media.
    pub linked: LinkedRules,
    /// Thumbnails.
    pub thumbnails: ThumbnailRules,
    /// Who is sent to the store, or to a CDN.
    pub redirect: RedirectRules,
    /// How long what is known of a token is believed.
    pub token_cache_time: Duration,
    /// Memory for records and small bodies, in bytes.
    pub cache_bytes: u64,
    /// How long a record is believed.
    pub cache_time: Duration,
}
