//! Spans of time, written with a unit: `"30s"`, `"24h"`, `"1h 30m"`.
//!
//! A plain number is refused: whether it meant seconds or milliseconds could only be guessed.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write a number and a unit, such as \"30s\", \"24h\" or \"7d\"")]
pub struct ParseDurationError(String);

impl Duration {
    /// A span of this many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The standard library's type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // humantime also reads a bare "0"; every duration has a unit here.
        let has_unit = text.contains(|c: char| c.is_ascii_alphabetic());
        let parsed = humantime::parse_duration(text).ok().filter(|_| has_unit);
        parsed.map(Self).ok_or_else(|| ParseDurationError(text.to_owned()))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole hours stay hours: "24h" is how people write it, humantime would say "1day".
        const UNITS: [(u64, &str); 3] = [(3600, "h"), (60, "m"), (1, "s")];
        const DAY: u64 = 24 * 3600;
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() != 0 {
            return humantime::format_duration(self.0).fmt(formatter);
        }
        if seconds > DAY && seconds.is_multiple_of(DAY) {
            return write!(formatter, "{}d", seconds / DAY);
        }
        // One unit that divides it, but "60s" rather than "1m": a time-out reads better in seconds.
        let exact = UNITS.iter().find(|(unit, _)| seconds > *unit && seconds.is_multiple_of(*unit));
        let (unit, name) = exact.copied().unwrap_or((1, "s"));
        write!(formatter, "{}{name}", seconds / unit)
    }
}

text_value!(Duration, "Duration", r"^\s*([0-9]+\s*[A-Za-z]+\s*)+$", ["30s", "24h", "7d"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!("24h".parse(), Ok(Duration::from_secs(86_400)));
        assert_eq!("60s".parse(), Ok(Duration::from_secs(60)));
        assert_eq!("1h 30m".parse(), Ok(Duration::from_secs(5_400)));
        assert_eq!("0s".parse(), Ok(Duration::from_secs(0)));
    }

    #[test]
    fn what_has_no_unit_or_no_number_is_refused() {
        for text in ["", "30", "0", "s", "-1s", "1 fortnight", "never"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_duration() {
        for text in ["0s", "1s", "60s", "90s", "5m", "24h", "25h", "7d", "250ms"] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.to_string(), text);
        }
    }
}
