//! `/.well-known/matrix/server`: to whom a host delegates its Matrix server (server-server API, "Resolving server
//! names", step 3), and for how long that is believed.
//!
//! One fetch runs for each host, however many ask, and it goes on when they stop waiting. Whatever goes wrong with it
//! means "delegates to nobody", for at least five minutes and at most an hour, longer with each failure.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use moka::future::Cache;
use serde::Deserialize;
use tintype_domain::{Clock, OwnedServerName, ServerName, Timestamp};
use tokio::time::timeout;
use url::{Host, Url};

use crate::{OutboundError, web::Web};

/// The longest file that is read, in bytes.
const MAX_LENGTH: usize = 50 * 1024;

/// How long a file is believed that does not say for how long (server-server API: "24 hours").
const DEFAULT_LIFETIME: Duration = Duration::from_hours(24);

/// How long a file is believed at most (server-server API: "48 hours").
const MAX_LIFETIME: Duration = Duration::from_hours(48);

/// How long anything is believed at least, so that nobody makes us ask for each request.
const MIN_LIFETIME: Duration = Duration::from_mins(5);

/// How long a failure is believed at most (server-server API: "cached for up to an hour").
const MAX_FAILURE_LIFETIME: Duration = Duration::from_hours(1);

/// Of how many hosts the answer is kept.
const HOSTS: u64 = 10_000;

/// What a host's file said.
#[derive(Debug, Clone)]
pub struct WellKnown {
    /// The server that it delegates to, or why it delegates to nobody.
    pub delegated: Result<OwnedServerName, String>,
    /// Until when this is believed.
    pub until: Timestamp,
    failures: u32,
}

/// Asks for these files and keeps the answers.
pub struct WellKnowns {
    web: Arc<Web>,
    clock: Arc<dyn Clock>,
    time_limit: Duration,
    known: Cache<String, WellKnown>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "m.server")]
    server: String,
}

impl WellKnowns {
    /// Nothing known yet. `time_limit` is for one fetch, with its redirects.
    pub fn new(web: Arc<Web>, clock: Arc<dyn Clock>, time_limit: Duration) -> Arc<Self> {
        Arc::new(Self { web, clock, time_limit, known: Cache::new(HOSTS) })
    }

    /// What a host's file says, asked for if what it said is not to be believed any longer.
    pub async fn of(self: &Arc<Self>, host: &str) -> Result<WellKnown, OutboundError> {
        let failures = match self.known.get(host).await {
            Some(known) if known.until > self.clock.now() => return Ok(known),
            Some(known) => known.failures,
            None => 0,
        };
        let (this, host) = (self.clone(), host.to_owned());
        // A task of its own: who asked first may have no time left, and others wait for the same answer.
        let fetch = tokio::spawn(async move {
            let now = this.clock.now();
            let entry = this.known.entry_by_ref(&host);
            entry.or_insert_with_if(this.ask(&host, failures), |known| known.until <= now).await.into_value()
        });
        fetch.await.map_err(|_| OutboundError::Stopped)
    }

    async fn ask(&self, host: &str, failures: u32) -> WellKnown {
        let answer = match timeout(self.time_limit, self.fetch(host)).await {
            Ok(answer) => answer,
            Err(_) => Err("it did not come in time".to_owned()),
        };
        let now = self.clock.now();
        match answer {
            Ok((server, headers)) => {
                WellKnown { delegated: Ok(server), until: now + lifetime(&headers, now), failures: 0 }
            }
            Err(reason) => {
                tracing::debug!(host, reason, "no delegation");
                let pause = MIN_LIFETIME.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_FAILURE_LIFETIME);
                WellKnown { delegated: Err(reason), until: now + pause, failures: failures.saturating_add(1) }
            }
        }
    }

    async fn fetch(&self, host: &str) -> Result<(OwnedServerName, HeaderMap), String> {
        let url =
            Url::parse(&format!("https://{host}/.well-known/matrix/server")).map_err(|error| error.to_string())?;
        // The URL standard reads names such as `1.2` as addresses; Matrix does not.
        if !matches!(url.host(), Some(Host::Domain(_))) {
            return Err("the host is not a name".to_owned());
        }
        let response = self.web.get(&url).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("it has status {}", head.status.as_u16()));
        }
        let body = Limited::new(body, MAX_LENGTH).collect().await.map_err(|error| error.to_string())?.to_bytes();
        let document: Document = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        Ok((delegate(&document.server)?, head.headers))
    }
}

/// Parses the value of `m.server`. A parser of numbers would take `+8448` for a port.
fn delegate(server: &str) -> Result<OwnedServerName, String> {
    match ServerName::parse(server) {
        Ok(name) if !server.contains('+') => Ok(name),
        _ => Err("its `m.server` is not a server name".to_owned()),
    }
}

/// How long an answer with these headers is believed (RFC 9111 §4.2.1), within our bounds.
fn lifetime(headers: &HeaderMap, now: Timestamp) -> Duration {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<_> =
        directives.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase()).collect();
    let max_age = directives.iter().find_map(|directive| {
        let seconds = directive.strip_prefix("max-age=")?.trim_matches('"');
        // What is no number counts as no time (RFC 9111 §4.2.1).
        Some(seconds.parse().map_or(Duration::ZERO, Duration::from_secs))
    });
    let age = headers
        .get(header::AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_secs);
    let stated = if directives.iter().any(|directive| directive == "no-store" || directive == "no-cache") {
        Duration::ZERO
    } else if let Some(max_age) = max_age {
        max_age.saturating_sub(age)
    } else if let Some(expires) = headers.get(header::EXPIRES) {
        let begin = date(headers.get(header::DATE)).unwrap_or(now);
        // What is no date, `0` for one, lies in the past (RFC 9111 §5.3).
        date(Some(expires)).map_or(Duration::ZERO, |expires| expires.since(begin))
    } else {
        DEFAULT_LIFETIME
    };
    stated.clamp(MIN_LIFETIME, MAX_LIFETIME)
}

/// The time in a header.
fn date(value: Option<&http::HeaderValue>) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(value?.to_str().ok()?).ok()?;
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(0) + since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn lifetime_of(headers: &[(header::HeaderName, &'static str)]) -> u64 {
        let headers = headers.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value)));
        lifetime(&headers.collect(), NOW).as_secs()
    }

    #[test]
    fn a_file_is_believed_as_long_as_it_says_within_bounds() {
        use header::{AGE, CACHE_CONTROL, DATE, EXPIRES};
        const HOUR: u64 = 3600;

        assert_eq!(lifetime_of(&[]), 24 * HOUR);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "public, max-age=7200")]), 2 * HOUR);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "Max-Age=\"7200\"")]), 2 * HOUR);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "max-age=7200"), (AGE, "3600")]), HOUR);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "max-age=99999999")]), 48 * HOUR);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "max-age=99999999999999999999999")]), 300);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "max-age=1")]), 300);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "max-age=7200, no-store")]), 300);
        assert_eq!(lifetime_of(&[(CACHE_CONTROL, "public")]), 24 * HOUR);
        assert_eq!(lifetime_of(&[(EXPIRES, "Thu, 01 Jan 2026 03:00:00 GMT")]), 3 * HOUR);
        assert_eq!(
            lifetime_of(&[(DATE, "Thu, 01 Jan 2026 01:00:00 GMT"), (EXPIRES, "Thu, 01 Jan 2026 03:00:00 GMT")]),
            2 * HOUR
        );
        assert_eq!(
            lifetime_of(&[(CACHE_CONTROL, "max-age=7200"), (EXPIRES, "Thu, 01 Jan 2026 03:00:00 GMT")]),
            2 * HOUR
        );
        assert_eq!(lifetime_of(&[(EXPIRES, "0")]), 300);
    }

    #[test]
    fn a_port_with_a_sign_is_no_port() {
        assert!(delegate("matrix.test:8448").is_ok());
        assert!(delegate("matrix.test:+8448").is_err());
        assert!(delegate("matrix.test/x").is_err());
        assert!(delegate("").is_err());
    }
}
