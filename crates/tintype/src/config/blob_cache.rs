//! `[blobs.cache]`: what is kept near of a store that is far away.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tintype_storage::blobs::DiskCache;

use super::report::Report;
use super::values::{ByteSize, Limit, path};

/// What is kept of the objects of S3 in memory and on this machine's disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobCacheConfig {
    /// Memory for the objects that are asked for most; 0 keeps none.
    pub memory: ByteSize,
    /// What may be on the disk of those that are not in memory any more; or "never".
    pub disk: Limit<ByteSize>,
    /// The folder on the disk; it is this node's alone.
    #[serde(deserialize_with = "path::required")]
    pub folder: PathBuf,
    /// Larger objects are not kept.
    pub max_object: ByteSize,
}

impl Default for BlobCacheConfig {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(64),
            disk: Limit::Never,
            folder: "blob-cache".into(),
            max_object: ByteSize::mib(1),
        }
    }
}

impl BlobCacheConfig {
    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.memory.bytes() > 0
    }

    pub(super) fn check(&self, report: &mut Report) {
        const MOST: ByteSize = ByteSize::mib(8);
        let (memory, most) = (self.memory.bytes(), self.max_object.bytes());
        if most > MOST.bytes() {
            report.error("blobs.cache.max_object", format!("can be at most {MOST}: each is in memory as a whole"));
        }
        if self.is_on() && memory < 4 * most {
            report.error("blobs.cache.memory", "has to have room for four objects of max_object");
        }
        let Some(disk) = self.disk.value() else { return };
        let least = DiskCache::least_size(most);
        if !self.is_on() {
            report.error("blobs.cache.disk", "has to be \"never\" where blobs.cache.memory is 0");
        } else if disk.bytes() < least {
            let least = ByteSize::from_bytes(least);
            report.error("blobs.cache.disk", format!("has to be at least {least} for objects of {}", self.max_object));
        }
    }
}
