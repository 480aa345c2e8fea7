//! `[http]`: where clients reach the server, and how long it waits for them.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::values::{Duration, ListenAddress, listed, network, path};

/// Where clients reach the server, and how long it waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Addresses to listen on without TLS: "IP:port", or "unix:/path" for a Unix socket.
    pub listen: Vec<ListenAddress>,
    /// Networks of the proxies whose X-Forwarded-For is believed.
    #[serde(deserialize_with = "network::list")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Addresses to listen on with TLS: "IP:port".
    #[serde(deserialize_with = "listed::deserialize")]
    #[schemars(with = "Vec<String>")]
    pub tls_listen: Vec<SocketAddr>,
    /// The certificate chain for `tls_listen`, in PEM. It is read again when it changes.
    #[serde(deserialize_with = "path::optional")]
    pub tls_certificate_file: Option<PathBuf>,
    /// The private key for `tls_listen`, in PEM.
    #[serde(deserialize_with = "path::optional")]
    pub tls_private_key_file: Option<PathBuf>,
    /// How long a client may take to send the head of a request, and how long a connection may stay idle.
    pub header_timeout: Duration,
    /// How long an upload may send nothing before it is given up.
    pub body_idle_timeout: Duration,
    /// How long a client may read nothing before its download is given up.
    pub write_stall_timeout: Duration,
    /// How long running requests may take to end when the server stops.
    pub drain_timeout: Duration,
    /// How many connections may be open at once; more wait until one closes.
    pub max_connections: NonZeroUsize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
        Self {
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 8090).into())],
            trusted_proxies: vec![ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into()],
            tls_listen: Vec::new(),
            tls_certificate_file: None,
            tls_private_key_file: None,
            header_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            max_connections: MAX_CONNECTIONS,
        }
    }
}

impl HttpConfig {
    pub(super) fn check(&self, report: &mut Report) {
        if self.listen.is_empty() && self.tls_listen.is_empty() {
            report.error("http.listen", "at least one address is needed, here or in http.tls_listen");
        }
        for (index, address) in self.listen.iter().enumerate() {
            if !address.is_any_port() && self.listen.iter().take(index).any(|earlier| earlier == address) {
                report.error(&format!("http.listen[{index}]"), format!("{address} is in the list twice"));
            }
        }
        self.check_tls(report);
        report.not_zero("http.header_timeout", self.header_timeout);
        report.not_zero("http.body_idle_timeout", self.body_idle_timeout);
        report.not_zero("http.write_stall_timeout", self.write_stall_timeout);
    }

    fn check_tls(&self, report: &mut Report) {
        for (index, address) in self.tls_listen.iter().enumerate() {
            let key = format!("http.tls_listen[{index}]");
            if address.port() != 0 && self.tls_listen.iter().take(index).any(|earlier| earlier == address) {
                report.error(&key, format!("{address} is in the list twice"));
            } else if address.port() != 0 && self.listen.contains(&ListenAddress::Tcp(*address)) {
                report.error(&key, format!("{address} is also in http.listen"));
            }
        }
        if self.tls_listen.is_empty() {
            return;
        }
        let files = [
            ("http.tls_certificate_file", &self.tls_certificate_file),
            ("http.tls_private_key_file", &self.tls_private_key_file),
        ];
        for (key, file) in files {
            if file.is_none() {
                report.error("http.tls_listen", format!("needs {key}"));
            }
        }
    }
}
