//! What the operator sees: logs, metrics and health.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tintype_api::RequestLog;
use tintype_repository::Repository;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    config::{LogFormat, TelemetryConfig},
    log_writer::{self, LogGuard},
    request_log,
};

/// Starts logging to standard error. Returns where the lines of requests go, and a guard that writes what is waiting
/// when it is dropped.
///
/// # Errors
/// If the filter is not understood, no thread can be had, or logging was started before.
pub(crate) fn start_logs(config: &TelemetryConfig) -> anyhow::Result<(Option<RequestLog>, LogGuard)> {
    let filter = EnvFilter::try_new(&config.log).context("telemetry.log")?;
    let (writer, guard) = log_writer::start(std::io::stderr())?;
    let request_log = config.request_log.then(|| request_log::to(writer.clone(), config.log_format));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match config.log_format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok((request_log, guard))
}

struct Telemetry {
    repository: Repository,
    registry: Registry,
    stopping: CancellationToken,
}

/// `/metrics`, `/health` (alive) and `/ready` (records and blobs answer, and the server is not `stopping`).
pub(crate) fn router(repository: Repository, registry: Registry, stopping: CancellationToken) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(async || "alive\n"))
        .route("/ready", get(ready))
        .with_state(Arc::new(Telemetry { repository, registry, stopping }))
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    telemetry.repository.measure().await;
    let mut text = String::new();
    match encode(&mut text, &telemetry.registry) {
        Ok(()) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(telemetry): State<Arc<Telemetry>>) -> Response {
    if telemetry.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match telemetry.repository.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
