//! The configuration: TOML, then the environment, with every error at once.
//!
//! Each section is a typed struct in a file of its own; its comments are the descriptions in the JSON schema. Nothing
//! but the binary reads this: the other crates are given what they need. `docs/src/configuration.md` is the reference
//! for operators, and tests hold it, the default file and the schema together.

mod asynchronous;
mod authentication;
mod blob_cache;
mod blobs;
mod cache;
mod cdn;
mod cluster;
mod database;
mod ephemeral;
mod error;
mod federation;
mod http;
mod legacy;
mod limits;
mod linked;
mod load;
mod notes;
mod proposals;
mod remote_cache;
mod report;
mod schema;
mod server;
mod source;
mod telemetry;
#[cfg(test)]
mod tests;
mod thumbnails;
mod values;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tintype_domain::ServerName;

pub use asynchronous::AsyncConfig;
pub use authentication::AuthenticationConfig;
pub use blob_cache::BlobCacheConfig;
pub use blobs::{BlobsConfig, BlobsCredentials, Redirect};
pub use cache::CacheConfig;
pub use cdn::CdnConfig;
pub use cluster::ClusterConfig;
pub use database::DatabaseConfig;
pub use ephemeral::EphemeralConfig;
pub use error::{ConfigError, ConfigErrors, Place};
pub use federation::{FederationConfig, RemoteThumbnails};
pub use http::HttpConfig;
pub use legacy::LegacyConfig;
pub use limits::{LimitsConfig, RatesConfig};
pub use linked::{Fate, LinkedConfig};
pub use proposals::{Proposal, ProposalsConfig};
pub use remote_cache::RemoteCacheConfig;
pub use server::ServerConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use thumbnails::ThumbnailsConfig;
pub use values::{
    BlobsUrl, ByteSize, DatabaseUrl, Duration, FreezeAt, Limit, ListenAddress, ParseByteSizeError, ParseDurationError,
    ParseFreezeAtError, ParseListenAddressError, ParseStorageUrlError, PostgresUrl, Rate, Secret,
};

/// The server name of the standalone profile.
const STANDALONE_NAME: &str = "localhost";

/// The configuration of a Tintype server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Configuration of Tintype")]
pub struct Config {
    /// The folder of everything the server keeps. Other relative paths start here; this one starts where the server is
    /// started.
    #[serde(deserialize_with = "values::path::required")]
    pub data_dir: PathBuf,
    /// Where clients reach the server, and how long it waits for them.
    pub http: HttpConfig,
    /// Logs, metrics and health.
    pub telemetry: TelemetryConfig,
    /// Where the records are kept.
    pub database: DatabaseConfig,
    /// Where the bytes are kept.
    pub blobs: BlobsConfig,
    /// Several servers on one database.
    pub cluster: ClusterConfig,
    /// What is kept in memory.
    pub cache: CacheConfig,
    /// The Matrix server names that are served here; at least one.
    pub server: Vec<ServerConfig>,
    /// How access tokens are taken and checked.
    pub authentication: AuthenticationConfig,
    /// How much, how often, and how long.
    pub limits: LimitsConfig,
    /// Uploads to URIs that were made before them (MSC2246).
    #[serde(rename = "async")]
    pub asynchronous: AsyncConfig,
    /// What decoding pictures may cost.
    pub thumbnails: ThumbnailsConfig,
    /// Media that lives for a while only (MSC4425).
    pub ephemeral: EphemeralConfig,
    /// Media that belongs to an event or a profile (MSC3911).
    pub linked: LinkedConfig,
    /// The old endpoints, which ask for no access token.
    pub legacy: LegacyConfig,
    /// Connections to other servers, and theirs to us.
    pub federation: FederationConfig,
    /// What is kept of other servers' media.
    pub remote_cache: RemoteCacheConfig,
    /// Stable names of proposals that Matrix has not accepted yet.
    pub proposals: ProposalsConfig,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let name = ServerName::parse(STANDALONE_NAME).expect("it is a valid server name");
        Self {
            data_dir: PathBuf::from("tintype-data"),
            http: HttpConfig::default(),
            telemetry: TelemetryConfig::default(),
            database: DatabaseConfig::default(),
            blobs: BlobsConfig::default(),
            cluster: ClusterConfig::default(),
            cache: CacheConfig::default(),
            server: vec![ServerConfig::owned(name)],
            authentication: AuthenticationConfig::default(),
            limits: LimitsConfig::default(),
            asynchronous: AsyncConfig::default(),
            thumbnails: ThumbnailsConfig::default(),
            ephemeral: EphemeralConfig::default(),
            linked: LinkedConfig::default(),
            legacy: LegacyConfig::default(),
            federation: FederationConfig::default(),
            remote_cache: RemoteCacheConfig::default(),
            proposals: ProposalsConfig::default(),
            notes: Vec::new(),
        }
    }
}

impl Config {
    /// Loads `path`, then lays the `TINTYPE__SECTION__KEY` variables of `environment` over it, and checks the whole.
    /// Without a path: the standalone profile and the environment. Files of secrets are read.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its key and its line; but a file that is not TOML has only its first error.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        load::load(path, environment)
    }

    /// The standalone profile: every default, and one server name, `localhost`, without a homeserver.
    pub fn standalone() -> Self {
        Self::default()
    }

    /// A file with every key and what it means. Loading it gives the standalone profile.
    pub fn default_file() -> String {
        include_str!("default.toml").to_owned()
    }

    /// The JSON schema of the file (draft 2020-12).
    pub fn schema() -> serde_json::Value {
        schema::schema()
    }

    /// What an operator should know although it is not an error: a line for each key that was set but has no effect in
    /// this version.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether no `[[server]]` has a homeserver, so that this server makes the accounts.
    pub fn is_standalone(&self) -> bool {
        self.server.iter().all(ServerConfig::owns_name)
    }

    /// Whether the stable names of a proposal are served beside its unstable ones.
    pub fn stable_proposal(&self, proposal: Proposal) -> bool {
        match &self.proposals.stable {
            Some(stable) => stable.contains(&proposal),
            None => self.is_standalone(),
        }
    }

    /// A path of the configuration as it is to be opened: relative ones start at `data_dir`.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.data_dir.join(path)
    }

    /// The file of the SQLite database; none where the records are in PostgreSQL.
    pub fn database_path(&self) -> Option<PathBuf> {
        match &self.database.url {
            DatabaseUrl::Sqlite(path) => Some(self.resolve(path)),
            DatabaseUrl::Postgres(_) => None,
        }
    }

    /// Up to which size bodies are kept in the database, in bytes. In PostgreSQL none are: what was deleted would stay in
    /// its files and its log for an unknown time.
    pub fn inline_size(&self) -> u64 {
        match self.database.url {
            DatabaseUrl::Sqlite(_) => self.blobs.inline_size.bytes(),
            DatabaseUrl::Postgres(_) => 0,
        }
    }

    /// Up to this size, in bytes, a body needs no file while it arrives, wherever it is kept then.
    pub fn gathered_size(&self) -> u64 {
        match self.database.url {
            DatabaseUrl::Sqlite(_) => self.blobs.inline_size.bytes(),
            DatabaseUrl::Postgres(_) => BlobsConfig::default().inline_size.bytes(),
        }
    }

    /// The folder of this machine where blobs arrive: where they stay, or, if they are in a bucket, the scratch folder.
    pub fn blobs_path(&self) -> PathBuf {
        self.resolve(self.blobs.url.folder().unwrap_or(&self.blobs.scratch))
    }

    /// The file of a server's signing key. A name that this server owns always has one: `NAME.signing.key` in
    /// `data_dir` (a port follows `_` instead of `:`) unless the configuration names another.
    pub fn signing_key_path(&self, server: &ServerConfig) -> Option<PathBuf> {
        match &server.signing_key_file {
            Some(path) => Some(self.resolve(path)),
            None if server.owns_name() => {
                let name = server.name.as_str().replace(':', "_");
                Some(self.data_dir.join(format!("{name}.signing.key")))
            }
            None => None,
        }
    }
}
