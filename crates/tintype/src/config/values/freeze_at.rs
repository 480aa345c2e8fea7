//! From when on media is hidden from the old, unauthenticated endpoints.

use std::fmt;
use std::str::FromStr;

use tintype_domain::Timestamp;
use toml_edit::{Datetime, Offset};

use super::text_value;

/// The moment of the freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FreezeAt {
    /// The server's first start: all its media.
    Now,
    /// The old endpoints serve everything.
    Never,
    /// Media uploaded at or after this moment, which is not before 1970.
    At(Timestamp),
}

/// Why a text is not a moment for the freeze.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither \"now\" nor \"never\" nor a time with its offset, such as \"2026-01-31T12:00:00Z\"")]
pub struct ParseFreezeAtError(String);

impl FromStr for FreezeAt {
    type Err = ParseFreezeAtError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            "never" => Ok(Self::Never),
            _ => timestamp(text).map(Self::At).ok_or_else(|| ParseFreezeAtError(text.to_owned())),
        }
    }
}

/// The moment of an RFC 3339 time. TOML's offset date-times are just that, so its parser reads them.
fn timestamp(text: &str) -> Option<Timestamp> {
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = text.parse().ok()? else {
        return None;
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days since 1970-01-01 in the proleptic Gregorian calendar, with years that begin in March, so that the leap day
    // is a year's last.
    let year = i64::from(date.year) - i64::from(date.month <= 2);
    let month = (i64::from(date.month) + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + i64::from(date.day) - 719_469;
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - offset_minutes;
    let milliseconds = (minutes * 60 + i64::from(time.second.unwrap_or(0))) * 1000
        + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
    (milliseconds >= 0).then_some(Timestamp(milliseconds))
}

impl fmt::Display for FreezeAt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => formatter.write_str("now"),
            Self::Never => formatter.write_str("never"),
            Self::At(moment) => {
                let moment = std::time::UNIX_EPOCH + moment.since(Timestamp(0));
                humantime::format_rfc3339_millis(moment).fmt(formatter)
            }
        }
    }
}

text_value!(
    FreezeAt,
    "FreezeAt",
    r"^(now|never|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))$",
    ["now", "never", "2026-01-31T12:00:00Z"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_milliseconds_since_the_epoch_in_utc() {
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(FreezeAt::At(Timestamp(0))));
        assert_eq!("2000-02-29T12:34:56.789Z".parse(), Ok(FreezeAt::At(Timestamp(951_827_696_789))));
        assert_eq!("2024-09-01T02:00:00+02:00".parse(), Ok(FreezeAt::At(Timestamp(1_725_148_800_000))));
        assert_eq!("2024-12-31T23:30:00-01:00".parse(), Ok(FreezeAt::At(Timestamp(1_735_691_400_000))));
    }

    #[test]
    fn the_words_are_now_and_never() {
        assert_eq!("now".parse(), Ok(FreezeAt::Now));
        assert_eq!("never".parse(), Ok(FreezeAt::Never));
    }

    #[test]
    fn a_time_without_offset_or_date_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2024-09-01",
            "12:00:00",
            "2024-09-01T00:00:00",
            "2024-13-01T00:00:00Z",
            "1969-12-31T00:00:00Z",
        ] {
            assert!(text.parse::<FreezeAt>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_day_agrees_with_another_calendar() {
        for day in 0..60_000 {
            let frozen = FreezeAt::At(Timestamp(day * 86_400_000));
            assert_eq!(frozen.to_string().parse(), Ok(frozen));
        }
    }
}
