//! How long a server is left alone after it could not be reached.
//!
//! Without this, each picture of a server that is gone costs a client the whole time limit, and us a connection. What
//! is asked of a server that is left alone fails at once. The pause doubles with each failure and ends with a success.

use std::{sync::Arc, time::Duration};

use moka::{ops::compute::Op, sync::Cache};
use tintype_domain::{Clock, OwnedServerName, ServerName, Timestamp};

/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Of how many servers failures are remembered.
const SERVERS: u64 = 10_000;

/// Remembers which servers could not be reached.
pub struct Backoff {
    clock: Arc<dyn Clock>,
    failures: Cache<OwnedServerName, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    until: Timestamp,
}

/// An attempt that began. Of all that began together, one failure counts.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    failures_before: u32,
}

impl Backoff {
    /// No failures, by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, failures: Cache::new(SERVERS) }
    }

    /// Begins an attempt to reach a server, or says until when it is left alone.
    pub fn begin(&self, server: &ServerName) -> Result<Attempt, Timestamp> {
        match self.failures.get(server) {
            None => Ok(Attempt { failures_before: 0 }),
            Some(failures) if failures.until > self.clock.now() => Err(failures.until),
            Some(failures) => Ok(Attempt { failures_before: failures.count }),
        }
    }

    /// The server was reached: what went before is forgotten.
    pub fn succeeded(&self, server: &ServerName) {
        self.failures.invalidate(server);
    }

    /// The server was not reached.
    pub fn failed(&self, server: &ServerName, attempt: Attempt) {
        self.failures.entry(server.to_owned()).and_compute_with(|entry| {
            let count = entry.map_or(0, |entry| entry.into_value().count);
            if count != attempt.failures_before {
                return Op::Nop;
            }
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count)).min(LONGEST_PAUSE);
            Op::Put(Failures { count: count.saturating_add(1), until: self.clock.now() + pause })
        });
    }
}

#[cfg(test)]
mod tests {
    use tintype_domain::ManualClock;

    use super::*;

    fn server() -> OwnedServerName {
        ServerName::parse("gone.test").unwrap()
    }

    #[test]
    fn the_pause_doubles_up_to_ten_minutes() {
        let clock = Arc::new(ManualClock::new(Timestamp(0)));
        let backoff = Backoff::new(clock.clone());

        let pauses = [10, 20, 40, 80, 160, 320, 600, 600].map(|seconds| {
            let attempt = backoff.begin(&server()).unwrap();
            backoff.failed(&server(), attempt);
            let until = backoff.begin(&server()).unwrap_err();
            let pause = until.since(clock.now());
            clock.advance(pause);
            (pause.as_secs(), seconds)
        });

        for (pause, expected) in pauses {
            assert_eq!(pause, expected);
        }
    }

    #[test]
    fn attempts_that_fail_together_count_once() {
        let clock = Arc::new(ManualClock::new(Timestamp(0)));
        let backoff = Backoff::new(clock.clone());
        let attempts = [(); 5].map(|()| backoff.begin(&server()).unwrap());

        for attempt in attempts {
            backoff.failed(&server(), attempt);
        }

        assert_eq!(backoff.begin(&server()).unwrap_err(), Timestamp(10_000));
    }

    #[test]
    fn a_success_ends_the_pause_and_other_servers_have_none() {
        let backoff = Backoff::new(Arc::new(ManualClock::new(Timestamp(0))));
        let attempt = backoff.begin(&server()).unwrap();
        backoff.failed(&server(), attempt);
        assert!(backoff.begin(<&ServerName>::try_from("other.test").unwrap()).is_ok());

        backoff.succeeded(&server());

        assert!(backoff.begin(&server()).is_ok());
    }
}
