//! `[limits]` and `[limits.rates]`: how much, how often, and how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::report::Report;
use super::values::{ByteSize, Duration, Limit, Rate, web_url};

/// How much, how often, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The largest upload.
    pub max_upload_size: ByteSize,
    /// The largest media taken from another server.
    pub max_remote_size: ByteSize,
    /// How many bytes one user may have stored, or "never" for no quota.
    pub max_user_bytes: Limit<ByteSize>,
    /// How many media one user may have stored, or "never" for no quota.
    pub max_user_media: Limit<u64>,
    /// A page that tells users about their quota; with it a full quota is M_USER_LIMIT_EXCEEDED, else M_FORBIDDEN.
    #[serde(deserialize_with = "web_url::page")]
    #[schemars(with = "Option<String>")]
    pub limit_info_uri: Option<Url>,
    /// How many URIs one user may have reserved without uploading to them.
    pub max_pending_uploads: u64,
    /// How long a reserved URI waits for its upload, or "never" for ever.
    pub unused_expires_after: Limit<Duration>,
    /// The longest that a download waits for an upload, whatever its `timeout_ms`.
    pub max_wait: Duration,
    /// How many downloads may wait for uploads at once, of at most three quarters of all connections; then those that
    /// wait longest are answered early.
    pub max_waiting_downloads: u64,
    /// How many of them may be one user's; one address's where there is no user.
    pub max_waiting_per_user: u64,
    /// How often, per user, or per server; per address where there is neither.
    pub rates: RatesConfig,
}

/// How often, per user, or per server; per address where there is neither.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RatesConfig {
    /// URIs reserved for a later upload.
    pub create: Rate,
    /// Uploads.
    pub upload: Rate,
    /// Downloads.
    pub download: Rate,
    /// Thumbnails.
    pub thumbnail: Rate,
    /// Token checks that reach the homeserver, per address.
    pub authenticate: Rate,
    /// Media that one other server asks for.
    pub serve_server: Rate,
    /// Media that is asked for from one other server.
    pub fetch_server: Rate,
    /// Ephemeral media created or deleted.
    pub ephemeral: Rate,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_upload_size: ByteSize::mib(100),
            max_remote_size: ByteSize::mib(100),
            max_user_bytes: Limit::Never,
            max_user_media: Limit::Never,
            limit_info_uri: None,
            max_pending_uploads: 5,
            unused_expires_after: Limit::At(Duration::from_secs(24 * 60 * 60)),
            max_wait: Duration::from_secs(60),
            max_waiting_downloads: 10_000,
            max_waiting_per_user: 1_000,
            rates: RatesConfig::default(),
        }
    }
}

impl Default for RatesConfig {
    fn default() -> Self {
        Self {
            create: Rate::new(20, 200),
            upload: Rate::new(20, 200),
            download: Rate::new(200, 2000),
            thumbnail: Rate::new(50, 500),
            authenticate: Rate::new(50, 500),
            serve_server: Rate::new(50, 500),
            fetch_server: Rate::new(20, 200),
            ephemeral: Rate::new(5, 50),
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self, report: &mut Report) {
        // A size is stored as a signed 64-bit integer.
        const LARGEST: ByteSize = ByteSize::from_bytes(i64::MAX as u64);
        let sizes =
            [("limits.max_upload_size", self.max_upload_size), ("limits.max_remote_size", self.max_remote_size)];
        for (key, size) in sizes {
            report.not_zero_size(key, size);
            if size > LARGEST {
                report.error(key, "is more than can be stored");
            }
        }
        if self.unused_expires_after.value().is_some_and(Duration::is_zero) {
            report.error("limits.unused_expires_after", "must be more than \"0s\" (or \"never\")");
        }
    }
}
