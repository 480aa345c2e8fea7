//! `[blobs]`: where the bytes are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tintype_storage::blobs::{Addressing, Bucket, BucketCredentials};
use url::{Host, Url};

use super::blob_cache::BlobCacheConfig;
use super::cdn::CdnConfig;
use super::report::Report;
use super::values::{BlobsUrl, ByteSize, Duration, Limit, Secret, path, web_url};

/// What most services that are not Amazon's sign for.
const DEFAULT_REGION: &str = "us-east-1";

/// Where the bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobsConfig {
    /// "file:path", or "s3://bucket/prefix" for a store that speaks S3.
    pub url: BlobsUrl,
    /// Where some of them still are while they are moved to the url: see `tintype blobs move`.
    pub fallback: Option<BlobsUrl>,
    /// Bodies up to this size live in the database beside their record; at most 1MiB.
    pub inline_size: ByteSize,
    /// All bytes are read and compared once in this time, or "never": by default "30d" in a folder, and never in a bucket.
    pub scrub: Option<Limit<Duration>>,
    /// How much is read for that in a second.
    pub scrub_rate: ByteSize,
    /// With s3: where media is while it arrives, a folder on this machine's disk.
    #[serde(deserialize_with = "path::required")]
    pub scratch: PathBuf,
    /// The URL of the S3 service, if it is not Amazon's.
    #[serde(deserialize_with = "web_url::base")]
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Url>,
    /// The region of the S3 bucket; Amazon's need it, for others it is "us-east-1" if it is not given.
    pub region: Option<String>,
    /// Who signs requests to S3: a "key", which is given here, or whoever the "machine" says.
    pub credentials: BlobsCredentials,
    /// The ID of the S3 key.
    pub access_key_id: Option<Secret>,
    /// A file that holds the ID of the S3 key.
    #[serde(deserialize_with = "path::optional")]
    pub access_key_id_file: Option<PathBuf>,
    /// The secret S3 key.
    pub secret_access_key: Option<Secret>,
    /// A file that holds the secret S3 key.
    #[serde(deserialize_with = "path::optional")]
    pub secret_access_key_file: Option<PathBuf>,
    /// Whether the bucket is in the path of S3 URLs rather than in their host.
    pub path_style: bool,
    /// Who is sent to the S3 service, or to the CDN, for media that anybody may see: "never", "clients", "federation" or
    /// "always".
    pub redirect: Redirect,
    /// Media smaller than this is served from here.
    pub redirect_min_size: ByteSize,
    /// How long such a URL holds, at most.
    pub redirect_expires: Duration,
    /// The URL of the S3 service for clients and other servers, if they reach it by another one.
    #[serde(deserialize_with = "web_url::base")]
    #[schemars(with = "Option<String>")]
    pub redirect_endpoint: Option<Url>,
    /// A CDN in front of this server.
    pub cdn: CdnConfig,
    /// What is kept of the objects of S3 in memory and on this machine's disk.
    pub cache: BlobCacheConfig,
}

/// Who is sent elsewhere for media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Redirect {
    /// Nobody.
    Never,
    /// Users.
    Clients,
    /// Other servers.
    Federation,
    /// Both.
    Always,
}

/// Who signs requests to S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum BlobsCredentials {
    /// Whoever has the key that is configured.
    Key,
    /// Whoever AWS's variables and files, or the service of the cloud, say.
    Machine,
}

impl Default for BlobsConfig {
    fn default() -> Self {
        Self {
            url: BlobsUrl::File("media".into()),
            fallback: None,
            inline_size: ByteSize::kib(64),
            scrub: None,
            scrub_rate: ByteSize::mib(8),
            scratch: "scratch".into(),
            endpoint: None,
            region: None,
            credentials: BlobsCredentials::Key,
            access_key_id: None,
            access_key_id_file: None,
            secret_access_key: None,
            secret_access_key_file: None,
            path_style: false,
            redirect: Redirect::Never,
            redirect_min_size: ByteSize::kib(256),
            redirect_expires: Duration::from_secs(5 * 60),
            redirect_endpoint: None,
            cdn: CdnConfig::default(),
            cache: BlobCacheConfig::default(),
        }
    }
}

impl BlobsConfig {
    pub(super) fn read_secrets(&mut self, report: &mut Report) {
        let file = self.access_key_id_file.as_deref();
        report.read_secret("blobs.access_key_id", &mut self.access_key_id, file);
        let file = self.secret_access_key_file.as_deref();
        report.read_secret("blobs.secret_access_key", &mut self.secret_access_key, file);
        self.cdn.read_secrets(report);
    }

    pub(super) fn check(&self, report: &mut Report) {
        const MAX_INLINE_SIZE: ByteSize = ByteSize::mib(1);
        if self.inline_size > MAX_INLINE_SIZE {
            report.error("blobs.inline_size", format!("can be at most {MAX_INLINE_SIZE}, not {}", self.inline_size));
        }
        if self.scrub.is_some_and(|every| every.value().is_some_and(Duration::is_zero)) {
            report.error("blobs.scrub", "must be more than \"0s\" (or \"never\")");
        }
        if self.scrub_rate.bytes() == 0 {
            report.error("blobs.scrub_rate", "must be more than 0");
        }
        if self.fallback.as_ref() == Some(&self.url) {
            report.error("blobs.fallback", "is the url: blobs are moved from one store to another one");
        }
        if self.uses_s3() {
            self.check_s3(report);
        }
        self.check_redirect(report);
        self.cdn.check(report);
        self.cache.check(report);
    }

    fn check_redirect(&self, report: &mut Report) {
        const LEAST: u64 = 10;
        const MOST: u64 = 24 * 60 * 60;
        if !(LEAST..=MOST).contains(&self.redirect_expires.get().as_secs()) {
            report.error("blobs.redirect_expires", "has to be between 10s and 24h");
        }
        let in_folder = self.url.folder().is_some();
        if self.redirect != Redirect::Never && in_folder && self.cdn.base_url.is_none() {
            report
                .error("blobs.redirect", "needs a [blobs.cdn] where media is in a folder: there is nobody else to ask");
        }
    }

    /// How often all bytes are read and compared. Stores that speak S3 do that themselves, and many are paid for what is read.
    pub fn scrub_every(&self) -> Option<std::time::Duration> {
        let by_default = match self.url {
            BlobsUrl::File(_) => Limit::At(Duration::from_secs(30 * 24 * 60 * 60)),
            BlobsUrl::S3 { .. } => Limit::Never,
        };
        self.scrub.unwrap_or(by_default).value().map(Duration::get)
    }

    fn uses_s3(&self) -> bool {
        [Some(&self.url), self.fallback.as_ref()].into_iter().flatten().any(|url| url.folder().is_none())
    }

    fn check_s3(&self, report: &mut Report) {
        let keys = [("access_key_id", &self.access_key_id), ("secret_access_key", &self.secret_access_key)];
        for (name, value) in keys {
            match (self.credentials, value) {
                (BlobsCredentials::Key, None) => report.error(
                    &format!("blobs.{name}"),
                    "is needed for s3; with credentials = \"machine\" the environment says it",
                ),
                (BlobsCredentials::Machine, Some(_)) => {
                    report.error(&format!("blobs.{name}"), "has no effect with credentials = \"machine\"");
                }
                _ => {}
            }
        }
        self.check_url("redirect_endpoint", self.redirect_endpoint.as_ref(), report);
        self.check_url("endpoint", self.endpoint.as_ref(), report);
        if self.endpoint.is_none() && self.region.is_none() {
            report.error("blobs.region", "is needed for Amazon's S3; of another service give the endpoint");
        }
    }

    fn check_url(&self, name: &str, url: Option<&Url>, report: &mut Report) {
        let Some(url) = url else { return };
        if !matches!(url.path(), "" | "/") {
            report
                .error(&format!("blobs.{name}"), "has a path; the bucket is named by the url, \"s3://bucket/prefix\"");
        }
        if !self.path_style && !matches!(url.host(), Some(Host::Domain(name)) if name != "localhost") {
            report
                .error("blobs.path_style", "must be true: a bucket cannot be part of an address, only of a host name");
        }
    }

    /// A line for each key that has no effect with the store that is configured, or not all the effect that is expected.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.notes_on_redirects();
        if self.uses_s3() {
            return notes;
        }
        let set = [
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("credentials", self.credentials != BlobsCredentials::Key),
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("path_style", self.path_style),
            ("redirect_endpoint", self.redirect_endpoint.is_some()),
            ("cache", self.cache != BlobCacheConfig::default()),
        ];
        let set = set.into_iter().filter(|(_, is_set)| *is_set);
        notes.extend(set.map(|(name, _)| format!("blobs.{name} has no effect: the url is a folder's")));
        notes
    }

    fn notes_on_redirects(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.redirect == Redirect::Never {
            if self.cdn.base_url.is_some() {
                notes.push("blobs.cdn has no effect: blobs.redirect is \"never\"".to_owned());
            }
            return notes;
        }
        if self.cdn.base_url.is_some() && self.redirect_endpoint.is_some() {
            notes.push("blobs.redirect_endpoint has no effect: everybody is sent to blobs.cdn".to_owned());
        }
        let store = || self.redirect_endpoint.as_ref().or(self.endpoint.as_ref());
        if self.cdn.base_url.as_ref().or_else(store).is_some_and(|url| url.scheme() != "https") {
            // Pages that came by https do not load what does not, and other servers do not either.
            notes.push(
                "blobs.redirect leads to a URL without https, where browsers and other servers do not go".to_owned(),
            );
        }
        notes
    }

    /// The bucket, if blobs are in one.
    pub fn bucket(&self) -> Option<Bucket> {
        self.bucket_of(&self.url)
    }

    /// The bucket of this URL, if it is one's: both stores of a move have the same settings.
    pub fn bucket_of(&self, url: &BlobsUrl) -> Option<Bucket> {
        let BlobsUrl::S3 { bucket, prefix } = url else { return None };
        let region = self.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let credentials = match (self.credentials, text(&self.access_key_id), text(&self.secret_access_key)) {
            (BlobsCredentials::Key, Some(id), Some(secret)) => BucketCredentials::Key { id, secret },
            _ => BucketCredentials::Machine,
        };
        Some(Bucket {
            name: bucket.clone(),
            prefix: prefix.clone(),
            endpoint,
            public_endpoint: self.redirect_endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
            region,
            credentials,
            addressing: if self.path_style { Addressing::Path } else { Addressing::Host },
        })
    }
}
