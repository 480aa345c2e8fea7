//! Counters of requests, by endpoint and status.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use tintype_repository::CDN_PREFIX;

/// Endpoints as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(crate) enum Endpoint {
    download,
    thumbnail,
    config,
    upload,
    create,
    asynchronous_upload,
    legacy_download,
    legacy_thumbnail,
    federation_download,
    federation_thumbnail,
    delete,
    copy,
    passed_through,
    appservice,
    cdn,
    other,
}

impl Endpoint {
    /// By the path: cheap, and bounded whatever is asked for.
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with(CDN_PREFIX) {
            return Self::cdn;
        }
        let Some(rest) = path.strip_prefix("/_matrix/") else { return Self::other };
        if rest.starts_with("app/v1/") {
            return Self::appservice;
        }
        if rest.starts_with("client/unstable/org.matrix.msc4425/") {
            return Self::delete;
        }
        let of_clients = rest.strip_prefix("client/v1/media/");
        if let Some(rest) = of_clients.or_else(|| rest.strip_prefix("client/unstable/org.matrix.msc3911/media/")) {
            return match rest.split('/').next() {
                Some("download") => Self::download,
                Some("thumbnail") => Self::thumbnail,
                Some("config") => Self::config,
                Some("upload") => Self::upload,
                Some("create") => Self::create,
                Some("copy") => Self::copy,
                _ => Self::other,
            };
        }
        if let Some(rest) = rest.strip_prefix("federation/") {
            let rest = rest.strip_prefix("v1/").or_else(|| rest.strip_prefix("unstable/org.matrix.msc3916.v2/"));
            let mut rest = rest.and_then(|rest| rest.strip_prefix("media/")).unwrap_or_default().split('/');
            return match rest.next() {
                Some("download") => Self::federation_download,
                Some("thumbnail") => Self::federation_thumbnail,
                _ => Self::other,
            };
        }
        let Some(rest) = rest.strip_prefix("media/") else { return Self::other };
        let mut rest = rest.strip_prefix("unstable/").unwrap_or(rest).split('/').skip(1);
        match rest.next() {
            Some("upload") if rest.next().is_some() => Self::asynchronous_upload,
            Some("upload") => Self::upload,
            Some("create") => Self::create,
            Some("download") => Self::legacy_download,
            Some("thumbnail") => Self::legacy_thumbnail,
            Some("config") => Self::config,
            _ => Self::other,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    endpoint: Endpoint,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: Endpoint,
}

/// What became of a request that was passed on to a homeserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(crate) enum PassedOutcome {
    /// The homeserver's answer went through whole.
    answered,
    /// The homeserver could not be reached.
    unreachable,
    /// The homeserver was reached, and did not answer.
    unanswered,
    /// The homeserver broke its answer off.
    cut,
    /// The client did not wait for the end.
    left,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassedLabel {
    outcome: PassedOutcome,
}

/// What became of a request that was handed to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(crate) enum RelayOutcome {
    /// Its answer went through whole.
    answered,
    /// It had nothing of what is asked for any more.
    looked_again,
    /// It gave no answer.
    unreachable,
    /// It did not take this node for one of its cluster.
    refused,
    /// It broke its answer off.
    cut,
    /// The client did not wait for the end.
    left,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RelayLabel {
    outcome: RelayOutcome,
}

/// Counters of the endpoints.
#[derive(Debug, Clone)]
pub struct HttpMetrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    requests: Family<Labels, Counter>,
    sent: Family<EndpointLabel, Counter>,
    duration: Family<EndpointLabel, Histogram, fn() -> Histogram>,
    passed: Family<PassedLabel, Counter>,
    passing: Gauge,
    relayed: Family<RelayLabel, Counter>,
    relayed_in: Counter,
    relay_refused: Counter,
}

impl HttpMetrics {
    /// Counters at zero, registered under `tintype_http_…`.
    pub fn register(registry: &mut Registry) -> Self {
        // From a cached answer to the end of a large transfer.
        let buckets: fn() -> Histogram = || Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0]);
        let counters = Counters {
            requests: Family::default(),
            sent: Family::default(),
            duration: Family::new_with_constructor(buckets),
            passed: Family::default(),
            passing: Gauge::default(),
            relayed: Family::default(),
            relayed_in: Counter::default(),
            relay_refused: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("http");
        registry.register("requests", "Requests answered", counters.requests.clone());
        registry.register_with_unit("sent", "Bytes of bodies sent", Unit::Bytes, counters.sent.clone());
        registry.register_with_unit(
            "duration",
            "Time from a request's head to the last byte of its answer",
            Unit::Seconds,
            counters.duration.clone(),
        );
        registry.register(
            "passed_through",
            "Requests passed on to homeservers, by what became of them",
            counters.passed.clone(),
        );
        registry.register(
            "passing_through",
            "Requests that are being passed on to homeservers",
            counters.passing.clone(),
        );
        registry.register(
            "relayed_out",
            "Requests handed to other nodes, by what became of them",
            counters.relayed.clone(),
        );
        registry.register("relayed_in", "Requests that other nodes handed to this one", counters.relayed_in.clone());
        registry.register(
            "relay_refused",
            "Requests on the internal port that were not of a node of this cluster",
            counters.relay_refused.clone(),
        );
        Self(Arc::new(counters))
    }

    /// A request was handed to another node.
    pub(crate) fn relayed(&self, outcome: RelayOutcome) {
        self.0.relayed.get_or_create(&RelayLabel { outcome }).inc();
    }

    /// Another node handed a request to this one.
    pub(crate) fn relayed_in(&self) {
        self.0.relayed_in.inc();
    }

    /// A request on the internal port was refused.
    pub(crate) fn relay_refused(&self) {
        self.0.relay_refused.inc();
    }

    /// A request is passed on to a homeserver.
    pub(crate) fn passes(&self) {
        self.0.passing.inc();
    }

    /// A request was passed on to a homeserver.
    pub(crate) fn passed(&self, outcome: PassedOutcome) {
        self.0.passing.dec();
        self.0.passed.get_or_create(&PassedLabel { outcome }).inc();
    }

    pub(crate) fn answered(&self, endpoint: Endpoint, status: StatusCode, sent: u64, elapsed: Duration) {
        self.0.requests.get_or_create(&Labels { endpoint, status: status.as_u16() }).inc();
        self.0.sent.get_or_create(&EndpointLabel { endpoint }).inc_by(sent);
        self.0.duration.get_or_create(&EndpointLabel { endpoint }).observe(elapsed.as_secs_f64());
    }
}
