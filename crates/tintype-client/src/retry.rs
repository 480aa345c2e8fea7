//! How often, and after which pauses, something that failed is tried again.
//!
//! Pauses double, so that a server that restarts is not in the way of its own clients, and are of a random length, so
//! that clients that lost their connections together do not come back together. What the server asks for in
//! `Retry-After` is always waited for.

use std::{sync::Arc, time::Duration};

use tintype_domain::{OsRandomness, Randomness as _};

use crate::Error;

/// The longest `Retry-After` that is waited for. Beyond it the caller knows better what to do with the time.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Longer than anybody waits, and not so long that it cannot be added to a time.
pub(crate) const FAR_OFF: Duration = Duration::from_hours(24 * 365 * 30);

/// How often a transfer that was interrupted goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many times in a row it may fail without a single byte of progress before it is given up.
    pub attempts: u32,
    /// The pause after the first failure; each further one doubles it.
    pub first_pause: Duration,
    /// What the pause grows to.
    pub longest_pause: Duration,
}

impl Retry {
    /// The first failure is the last.
    pub const NEVER: Self = Self { attempts: 0, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };
}

impl Default for Retry {
    /// Eight times, with pauses from half a second to half a minute: about a minute and a half in all, in which a phone
    /// changes its network and a server restarts.
    fn default() -> Self {
        Self { attempts: 8, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(30) }
    }
}

/// What happens during a transfer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So many bytes of the whole have been handed to, or come from, the connection.
    Progress {
        /// The position in the media, in bytes.
        at: u64,
    },
    /// It failed, and is tried again after a pause. Also while waiting for media that is not uploaded yet.
    Paused {
        /// Why.
        error: &'a Error,
        /// How long.
        pause: Duration,
    },
    /// It goes on after a failure.
    Resumed {
        /// From where, in bytes.
        at: u64,
    },
}

type Listen = dyn Fn(Event<'_>) + Send + Sync;

/// Somebody who is told what happens.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Listen>>);

impl Listener {
    pub(crate) fn new(listener: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

/// The failures since the last progress.
#[derive(Debug)]
pub(crate) struct Failures {
    retry: Retry,
    in_a_row: u32,
}

impl Failures {
    pub(crate) fn none(retry: Retry) -> Self {
        Self { retry, in_a_row: 0 }
    }

    pub(crate) fn forget(&mut self) {
        self.in_a_row = 0;
    }

    /// How long to pause after this failure; `None` if it is the last, or trying again would not help.
    pub(crate) fn pause_after(&mut self, error: &Error) -> Option<Duration> {
        let asked_for = error.retry_after().unwrap_or_default();
        if !error.is_transient() || self.in_a_row >= self.retry.attempts || asked_for > LONGEST_RETRY_AFTER {
            return None;
        }
        Some(self.pause().max(asked_for))
    }

    /// The next pause, however many there were.
    pub(crate) fn pause(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let whole = self.retry.first_pause.saturating_mul(doubled).min(self.retry.longest_pause).min(FAR_OFF);
        let mut random = [0; 1];
        OsRandomness.fill(&mut random);
        // Between half of it and all of it.
        whole / 2 + whole / 2 * u32::from(random[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry =
        Retry { attempts: 3, first_pause: Duration::from_millis(100), longest_pause: Duration::from_millis(250) };

    fn refusal(retry_after: u64) -> Error {
        Error::Status { status: 503, retry_after: Some(Duration::from_secs(retry_after)) }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let mut failures = Failures::none(RETRY);

        for whole in [100, 200, 250] {
            let pause = failures.pause_after(&Error::broken()).unwrap();
            assert!((whole / 2..=whole).contains(&pause.as_millis()), "{pause:?} of {whole} ms");
        }
        assert_eq!(failures.pause_after(&Error::broken()), None);
    }

    #[test]
    fn progress_begins_the_count_anew() {
        let mut failures = Failures::none(Retry { attempts: 1, ..RETRY });
        assert!(failures.pause_after(&Error::broken()).is_some());

        failures.forget();

        assert!(failures.pause_after(&Error::broken()).is_some());
        assert_eq!(failures.pause_after(&Error::broken()), None);
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for_within_reason() {
        assert_eq!(Failures::none(RETRY).pause_after(&refusal(7)), Some(Duration::from_secs(7)));
        assert_eq!(Failures::none(RETRY).pause_after(&refusal(301)), None);
    }

    #[test]
    fn what_lasts_is_not_tried_again() {
        assert_eq!(Failures::none(RETRY).pause_after(&Error::Changed), None);
        assert_eq!(Failures::none(Retry::NEVER).pause_after(&Error::broken()), None);
    }
}
