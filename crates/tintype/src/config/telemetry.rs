//! `[telemetry]`: logs, metrics and health.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::http::HttpConfig;
use super::report::Report;
use super::values::ListenAddress;

/// Logs, metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Where /metrics, /health and /ready are served: "IP:port", or "unix:/path".
    pub listen: ListenAddress,
    /// What is logged: a level, or filter directives such as "info,tintype_storage=debug".
    pub log: String,
    /// How it is logged: "text" for people, "json" for collectors.
    pub log_format: LogFormat,
    /// Whether each request is logged with its status, bytes, duration and requester.
    pub request_log: bool,
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            listen: ListenAddress::Tcp(([127, 0, 0, 1], 9090).into()),
            log: "info".into(),
            log_format: LogFormat::Text,
            request_log: true,
        }
    }
}

impl TelemetryConfig {
    pub(super) fn check(&self, http: &HttpConfig, report: &mut Report) {
        let is_tls = matches!(&self.listen, ListenAddress::Tcp(address) if http.tls_listen.contains(address));
        for (key, is_there) in [("http.listen", http.listen.contains(&self.listen)), ("http.tls_listen", is_tls)] {
            if is_there && !self.listen.is_any_port() {
                // Metrics must not be reachable by every client.
                report.error("telemetry.listen", format!("{} is also in {key}", self.listen));
            }
        }
        if self.log.trim().is_empty() {
            report.error("telemetry.log", "cannot be empty; \"off\" logs nothing");
        } else if let Err(error) = EnvFilter::builder().parse(&self.log) {
            let message = format!("{error}; write a level such as \"info\", or \"info,tintype_storage=debug\"");
            report.error("telemetry.log", message);
        }
    }
}
