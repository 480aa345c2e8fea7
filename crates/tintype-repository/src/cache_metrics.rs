//! What the cache of blobs did, for the operator: it counts by itself, and is read when somebody asks.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use tintype_storage::blobs::Blobs;

/// Reads the counters of the cache that is in front of these blobs.
#[derive(Debug)]
pub(crate) struct CacheCollector(pub(crate) Blobs);

impl Collector for CacheCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(counts) = self.0.cache_counts() else { return Ok(()) };
        let mut requests = encoder.encode_descriptor(
            "blob_cache_requests",
            "Blobs that were wanted of the cache, by where they were",
            None,
            MetricType::Counter,
        )?;
        for (found, number) in [("memory", counts.memory_hits), ("disk", counts.disk_hits), ("store", counts.misses)] {
            ConstCounter::new(number).encode(requests.encode_family(&[("found", found)])?)?;
        }
        let hits = encoder.encode_descriptor(
            "blob_cache_hit",
            "Bytes of blobs that were in the cache",
            Some(&Unit::Bytes),
            MetricType::Counter,
        )?;
        ConstCounter::new(counts.hit_bytes).encode(hits)?;
        let evictions = encoder.encode_descriptor(
            "blob_cache_evictions",
            "Blobs that left the memory of the cache to make room",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(counts.evictions).encode(evictions)?;
        let memory = encoder.encode_descriptor(
            "blob_cache_memory",
            "Memory that the cache of blobs takes",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::try_from(counts.memory_bytes).unwrap_or(i64::MAX)).encode(memory)
    }
}
