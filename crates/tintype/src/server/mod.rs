//! A running server: listeners in front, the repository behind, and an orderly end.

mod connections;
mod elsewhere;
mod internal;
mod listener;
mod stall;
mod tls;

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::Request, response::Response};
use prometheus_client::registry::Registry;
use tintype_api::{Endpoints, HttpMetrics, Peer, RequestLog};
use tintype_domain::{Clock, OsRandomness, Randomness};
use tintype_repository::Repository;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use self::listener::Address;
use self::{
    connections::{Answer, Connections, Limits},
    elsewhere::Elsewhere,
    internal::Internal,
    listener::Listener,
    tls::{CertificateFiles, Tls},
};
use crate::{
    config::{Config, Duration as ConfigDuration},
    telemetry, wiring,
};

/// A running server. Dropping it cuts every connection; [`Server::drain`] ends it in order.
pub struct Server {
    repository: Repository,
    connections: Connections,
    telemetry: Connections,
    /// For other nodes, where there can be any.
    internal: Option<Internal>,
    addresses: Vec<Address>,
    telemetry_address: Address,
    drain_timeout: Duration,
    stopping: CancellationToken,
    _elsewhere: Elsewhere,
}

impl Server {
    /// Opens the storage, applies migrations, removes what a crash left, and starts to listen.
    ///
    /// # Errors
    /// What of it failed, for the operator.
    pub async fn start(
        config: &Config,
        clock: Arc<dyn Clock>,
        request_log: Option<RequestLog>,
    ) -> anyhow::Result<Self> {
        let data_dir = &config.data_dir;
        wiring::create_private(data_dir).with_context(|| format!("{} cannot be created", data_dir.display()))?;
        let randomness: Arc<dyn Randomness> = Arc::new(OsRandomness);
        // Listening comes first: a port that is taken is found before anything is opened.
        let mut listeners = Vec::new();
        for address in &config.http.listen {
            listeners.push(Listener::bind(address).await?);
        }
        if let Some(tls) = tls(config, &clock)? {
            for address in &config.http.tls_listen {
                listeners.push(Listener::bind_tls(*address, Arc::clone(&tls)).await?);
            }
        }
        let telemetry_listener = Listener::bind(&config.telemetry.listen).await?;
        let internal_listener = match &config.cluster.listen {
            Some(address) => Some(Listener::bind(address).await?),
            None => None,
        };
        let elsewhere = Elsewhere::start()?;
        let federation = wiring::federation(config, Arc::clone(&clock), &*randomness, elsewhere.handle())?;
        let (time, random) = (Arc::clone(&clock), Arc::clone(&randomness));
        let repository = wiring::repository(config, federation.clone(), time, random).await?;

        let mut registry = Registry::with_prefix("tintype");
        let http_metrics = HttpMetrics::register(&mut registry);
        repository.register_metrics(&mut registry);
        let endpoints =
            wiring::api(config, repository.clone(), federation, clock, randomness, http_metrics, request_log);

        let limits = Limits {
            max_connections: config.http.max_connections.get(),
            head: config.http.header_timeout.get(),
            stall: config.http.write_stall_timeout.get(),
        };
        let addresses = listeners.iter().map(Listener::address).collect::<Result<_, _>>()?;
        let telemetry_address = telemetry_listener.address()?;
        let connections = Connections::new(&endpoints, cores(), limits)?;
        connections.register(&mut registry);
        for listener in listeners {
            connections.accept_from(listener);
        }
        let internal = internal_listener.map(|listener| Internal::start(&endpoints, listener, limits)).transpose()?;
        // From now on they reach us.
        repository.greet_homeservers();
        let stopping = CancellationToken::new();
        let telemetry_router = telemetry::router(repository.clone(), registry, stopping.clone());
        let telemetry =
            Connections::new(&telemetry_router, NonZeroUsize::MIN, Limits { max_connections: 64, ..limits })?;
        telemetry.accept_from(telemetry_listener);
        let drain_timeout = ConfigDuration::get(config.http.drain_timeout);
        Ok(Self {
            repository,
            connections,
            telemetry,
            internal,
            addresses,
            telemetry_address,
            drain_timeout,
            stopping,
            _elsewhere: elsewhere,
        })
    }

    /// Where clients reach it: those of `http.listen`, then those of `http.tls_listen`.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where metrics and health are.
    pub fn telemetry_address(&self) -> &Address {
        &self.telemetry_address
    }

    /// Is not ready any more, stops to listen, answers those early who wait for an upload, finishes the requests that are under way (for as
    /// long as `http.drain_timeout`), and closes the storage.
    pub async fn drain(self) {
        self.stopping.cancel();
        self.repository.stop_waiting();
        // Together: each may wait for what the other one brings.
        tokio::join!(self.connections.drain(self.drain_timeout), async {
            if let Some(internal) = self.internal {
                internal.drain(self.drain_timeout).await;
            }
        });
        self.telemetry.drain(Duration::from_secs(1)).await;
        self.repository.close().await;
    }
}

impl Answer for Endpoints {
    async fn answer(&self, request: Request, peer: Peer) -> Response {
        Endpoints::answer(self, request, peer).await
    }
}

impl Answer for Router {
    async fn answer(&self, request: Request, _: Peer) -> Response {
        match self.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// What `http.tls_listen` needs, where there is any.
fn tls(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Tls>>> {
    let http = &config.http;
    if http.tls_listen.is_empty() {
        return Ok(None);
    }
    let (Some(chain), Some(key)) = (&http.tls_certificate_file, &http.tls_private_key_file) else {
        anyhow::bail!("http.tls_listen needs a certificate and its key");
    };
    let files = CertificateFiles { chain: config.resolve(chain), key: config.resolve(key) };
    let tls = Tls::load(files, Arc::clone(clock)).context("http.tls_listen has no certificate")?;
    Ok(Some(Arc::new(tls)))
}

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
