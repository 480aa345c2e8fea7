//! `[thumbnails]`: what decoding pictures may cost.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::ByteSize;

/// What decoding pictures may cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ThumbnailsConfig {
    /// How many thumbnails are made at once; 0 means one for each core.
    pub threads: usize,
    /// How many more may wait; then the answer is 429.
    pub queue: usize,
    /// Pictures with more pixels are not decoded.
    pub max_pixels: NonZeroU64,
    /// Pictures with more bytes are not decoded.
    pub max_source_size: ByteSize,
    /// Memory that decoding one picture may take, by what its header says.
    pub max_memory: ByteSize,
    /// How many sizes of one picture are stored.
    pub max_sizes_per_media: NonZeroUsize,
}

impl Default for ThumbnailsConfig {
    fn default() -> Self {
        const MAX_PIXELS: NonZeroU64 = NonZeroU64::new(64_000_000).expect("it is not zero");
        const MAX_SIZES: NonZeroUsize = NonZeroUsize::new(64).expect("it is not zero");
        Self {
            threads: 0,
            queue: 256,
            max_pixels: MAX_PIXELS,
            max_source_size: ByteSize::mib(100),
            max_memory: ByteSize::mib(256),
            max_sizes_per_media: MAX_SIZES,
        }
    }
}

impl ThumbnailsConfig {
    pub(super) fn check(&self, report: &mut Report) {
        const MAX_THREADS: usize = 1024;
        if self.threads > MAX_THREADS {
            report.error("thumbnails.threads", format!("can be at most {MAX_THREADS}, not {}", self.threads));
        }
        report.not_zero_size("thumbnails.max_source_size", self.max_source_size);
        report.not_zero_size("thumbnails.max_memory", self.max_memory);
    }
}
