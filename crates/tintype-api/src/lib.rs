//! The Matrix endpoints: HTTP in, HTTP out.
//!
//! One file per endpoint, grouped as the specification groups them: `client` (authenticated), `federation` (other
//! servers), `legacy` (the deprecated `/_matrix/media` downloads), `standalone` (what a homeserver would answer, for
//! servers that have none). A request is parsed into typed arguments, handed to the repository, and its answer is written
//! as HTTP. Nothing is decided here. Every refusal becomes a Matrix error in `error`, and nowhere else.

mod appservice;
mod authentication;
mod cdn;
mod client;
mod edge;
mod ephemeral;
mod error;
mod federation;
mod front_door;
mod legacy;
mod media_path;
mod metrics;
mod naming;
mod outcome;
mod patience;
mod redirect;
mod relay;
mod restrictions;
mod serve;
mod standalone;
mod unrecognized;
mod upload_body;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{delete, get, post, put},
};
use ipnet::IpNet;
use tintype_domain::{Clock, Randomness};
use tintype_federation::Federation;
use tintype_repository::{CDN_PREFIX, Repository};

use self::relay::Relay;

pub use self::{
    appservice::HomeserverToken,
    authentication::{Ownership, PassThrough, Tenant},
    edge::{Peer, RequestLine, RequestLog, Via},
    ephemeral::ProposalNames,
    metrics::HttpMetrics,
    relay::{ENVELOPE, Envelope, EnvelopeError, RelayParts},
};

/// What the endpoints need.
pub struct Parts {
    /// The rules and the storage.
    pub repository: Repository,
    /// The servers whose clients come here, and by which hosts.
    pub tenants: Vec<Tenant>,
    /// Other servers, and our keys.
    pub federation: Federation,
    /// Which names of MSC4425 are served.
    pub msc4425: ProposalNames,
    /// Which names of MSC3911 are served.
    pub msc3911: ProposalNames,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `?access_token=` is accepted.
    pub query_access_token: QueryAccessToken,
    /// How long an upload may bring nothing before it is cut.
    pub body_idle_timeout: Duration,
    /// This node among the others, where there are any.
    pub relay: Option<RelayParts>,
    /// Where the line of each request goes; nowhere if not given.
    pub request_log: Option<RequestLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Boundaries of multipart answers.
    pub randomness: Arc<dyn Randomness>,
}

/// Whether access tokens in the query string are accepted (deprecated; client-server API, "Using access tokens").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryAccessToken {
    /// They are.
    Accepted,
    /// They are not.
    Refused,
}

pub(crate) struct Api {
    parts: Parts,
    relay: Option<Relay>,
    metrics: HttpMetrics,
}

/// All endpoints.
#[derive(Clone)]
pub struct Endpoints {
    api: Arc<Api>,
    /// For servers that own their name.
    standalone: Router,
    /// For servers that have a homeserver.
    beside: Router,
}

impl Endpoints {
    /// The endpoints over these parts. `metrics` counts what they do.
    pub fn new(mut parts: Parts, metrics: HttpMetrics) -> Self {
        let relay = parts.relay.take().map(Relay::new);
        let api = Arc::new(Api { parts, relay, metrics });
        let mut router = Router::new()
            .route("/_matrix/client/v1/media/download/{server}/{id}", get(client::download::get))
            .route("/_matrix/client/v1/media/download/{server}/{id}/{name}", get(client::download::get))
            .route("/_matrix/client/v1/media/thumbnail/{server}/{id}", get(client::thumbnail::get))
            .route("/_matrix/client/v1/media/config", get(client::config::get))
            .route("/_matrix/client/unstable/org.matrix.msc4425/{server}/{id}", delete(client::delete::delete));
        if api.parts.msc4425 == ProposalNames::Stable {
            router = router.route("/_matrix/client/v1/media/{server}/{id}", delete(client::delete::delete));
        }
        router = router
            .route("/_matrix/client/unstable/org.matrix.msc3911/media/upload", post(client::upload::post_restricted))
            .route("/_matrix/client/unstable/org.matrix.msc3911/media/create", post(client::create::post_restricted))
            .route("/_matrix/client/unstable/org.matrix.msc3911/media/copy/{server}/{id}", post(client::copy::post));
        if api.parts.msc3911 == ProposalNames::Stable {
            router = router
                .route("/_matrix/client/v1/media/upload", post(client::upload::post_restricted))
                .route("/_matrix/client/v1/media/copy/{server}/{id}", post(client::copy::post));
        }
        for prefix in ["v1", "unstable/org.matrix.msc3916.v2"] {
            let path = |rest: &str| format!("/_matrix/federation/{prefix}/media/{rest}");
            router = router
                .route(&path("download/{id}"), get(federation::download::get))
                .route(&path("thumbnail/{id}"), get(federation::thumbnail::get));
        }
        let reserved = || {
            let progress = get(client::resume::get);
            progress.put(client::put::put).patch(client::resume::patch).delete(client::resume::delete)
        };
        router = router
            .route("/_matrix/media/v1/create", post(client::create::post))
            .route("/_matrix/media/unstable/fi.mau.msc2246/create", post(client::create::post))
            .route("/_matrix/media/unstable/fi.mau.msc2246/upload/{server}/{id}", reserved());
        for version in ["v3", "r0", "v1"] {
            let path = |rest: &str| format!("/_matrix/media/{version}/{rest}");
            router = router
                .route(&path("upload"), post(client::upload::post))
                .route(&path("upload/{server}/{id}"), reserved())
                .route(&path("download/{server}/{id}"), get(legacy::download::get))
                .route(&path("download/{server}/{id}/{name}"), get(legacy::download::get))
                .route(&path("thumbnail/{server}/{id}"), get(legacy::thumbnail::get))
                .route(&path("config"), get(client::config::get));
        }
        if api.parts.repository.has_cdn() {
            router = router.route(&format!("{CDN_PREFIX}{{location}}"), get(cdn::get));
        }
        let router = router.merge(appservice::router());
        let finish = |router: Router<Arc<Api>>| {
            router
                .fallback(unrecognized::path)
                .method_not_allowed_fallback(unrecognized::method)
                .with_state(Arc::clone(&api))
        };
        let standalone = finish(router.clone().merge(standalone::router()));
        let mut beside = router.route("/_matrix/client/versions", get(front_door::versions::get));
        for version in ["v3", "r0", "v1"] {
            let path = |rest: &str| format!("/_matrix/client/{version}/{rest}");
            let other = front_door::attaching::other_method;
            beside = beside
                .route(&path("rooms/{room}/send/{type}"), post(client::rooms::send::post).fallback(other))
                .route(
                    &path("rooms/{room}/send/{type}/{txn}"),
                    put(client::rooms::send::put).post(client::rooms::send::post).fallback(other),
                )
                .route(&path("rooms/{room}/state/{type}"), put(client::rooms::state::put).fallback(other))
                .route(&path("rooms/{room}/state/{type}/"), put(client::rooms::state::put).fallback(other))
                .route(&path("rooms/{room}/state/{type}/{key}"), put(client::rooms::state::put).fallback(other))
                .route(&path("profile/{user}/avatar_url"), put(client::avatar_url::put).fallback(other))
                .route(&path("createRoom"), post(client::create_room::post).fallback(other));
        }
        let beside = finish(beside);
        Self { api, standalone, beside }
    }
}
