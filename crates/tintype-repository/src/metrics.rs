//! What the repository counts, for the operator.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

/// Counters of a repository.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    uploads: Counter,
    uploaded_bytes: Counter,
    thumbnails_made: Counter,
    thumbnails_failed: Counter,
    thumbnails_refused: Counter,
    thumbnails_waiting: Gauge,
}

impl Metrics {
    /// Registers the counters under `tintype_…`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("uploads", "Uploads that were stored", self.uploads.clone());
        registry.register_with_unit(
            "uploaded",
            "Bytes of uploads that were stored",
            Unit::Bytes,
            self.uploaded_bytes.clone(),
        );
        registry.register("thumbnails_made", "Thumbnails that were made", self.thumbnails_made.clone());
        registry.register(
            "thumbnails_failed",
            "Pictures of which no thumbnail could be made",
            self.thumbnails_failed.clone(),
        );
        registry.register(
            "thumbnails_refused",
            "Thumbnails that were not made because too many were waiting",
            self.thumbnails_refused.clone(),
        );
        registry.register(
            "thumbnails_waiting",
            "Thumbnails being made or waiting to be",
            self.thumbnails_waiting.clone(),
        );
    }

    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploads.inc();
        self.uploaded_bytes.inc_by(bytes);
    }

    pub(crate) fn thumbnail_made(&self) {
        self.thumbnails_made.inc();
    }

    pub(crate) fn thumbnail_failed(&self) {
        self.thumbnails_failed.inc();
    }

    pub(crate) fn thumbnail_refused(&self) {
        self.thumbnails_refused.inc();
    }

    /// Counts one thumbnail as waiting until the guard is dropped.
    pub(crate) fn thumbnail_waits(&self) -> Waiting {
        self.thumbnails_waiting.inc();
        Waiting(self.thumbnails_waiting.clone())
    }
}

pub(crate) struct Waiting(Gauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}
