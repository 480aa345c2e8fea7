//! `[blobs]`: where the bytes are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::report::Report;
use super::values::{BlobsUrl, ByteSize, Secret, path, web_url};

/// Where the bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobsConfig {
    /// "file:path". "s3://bucket/prefix" is not supported by this version.
    pub url: BlobsUrl,
    /// Bodies up to this size live in the database beside their record; at most 1MiB.
    pub inline_size: ByteSize,
    /// The URL of the S3 service, if it is not Amazon's.
    #[serde(deserialize_with = "web_url::base")]
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Url>,
    /// The region of the S3 bucket.
    pub region: Option<String>,
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
}

impl Default for BlobsConfig {
    fn default() -> Self {
        Self {
            url: BlobsUrl::File("media".into()),
            inline_size: ByteSize::kib(64),
            endpoint: None,
            region: None,
            access_key_id: None,
            access_key_id_file: None,
            secret_access_key: None,
            secret_access_key_file: None,
            path_style: false,
        }
    }
}

impl BlobsConfig {
    pub(super) fn read_secrets(&mut self, report: &mut Report) {
        let file = self.access_key_id_file.as_deref();
        report.read_secret("blobs.access_key_id", &mut self.access_key_id, file);
        let file = self.secret_access_key_file.as_deref();
        report.read_secret("blobs.secret_access_key", &mut self.secret_access_key, file);
    }

    pub(super) fn check(&self, report: &mut Report) {
        const MAX_INLINE_SIZE: ByteSize = ByteSize::mib(1);
        if self.inline_size > MAX_INLINE_SIZE {
            report.error("blobs.inline_size", format!("can be at most {MAX_INLINE_SIZE}, not {}", self.inline_size));
        }
    }
}
