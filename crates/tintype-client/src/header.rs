//! The few headers of answers that are understood here; those of resumable uploads are in `tintype-http`.
//!
//! What is malformed counts as not there, which is always the safe reading.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderName, RETRY_AFTER};

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

fn digits(text: &str) -> Option<u64> {
    // A parser of numbers also takes a plus.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `Retry-After` in seconds. Its other form, a date, is of no use without a clock that agrees with the server's.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, RETRY_AFTER).and_then(digits).map(Duration::from_secs)
}

/// A strong entity tag. A weak one does not promise the same bytes, and must not stand in `If-Range` (RFC 9110,
/// section 13.1.5).
pub(crate) fn strong_etag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG).filter(|etag| etag.len() > 1 && etag.starts_with('"') && etag.ends_with('"')).map(str::to_owned)
}

/// `Content-Range` (RFC 9110, section 14.4).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    /// The first byte's position; `None` in a 416.
    pub(crate) start: Option<u64>,
    /// The length of the whole, if it is known.
    pub(crate) total: Option<u64>,
}

pub(crate) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let (range, total) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(digits(total)?) };
    if range == "*" {
        return Some(ContentRange { start: None, total });
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (digits(start)?, digits(end)?);
    (start <= end && total.is_none_or(|total| end < total)).then_some(ContentRange { start: Some(start), total })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_field_that_is_there_twice_is_ignored() {
        let mut headers = with(RETRY_AFTER, "1");
        headers.append(RETRY_AFTER, HeaderValue::from_static("2"));

        assert_eq!(retry_after(&headers), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        assert_eq!(retry_after(&with(RETRY_AFTER, "7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&with(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT")), None);
    }

    #[test]
    fn only_strong_entity_tags_promise_the_same_bytes() {
        assert_eq!(strong_etag(&with(ETAG, "\"abc\"")), Some("\"abc\"".to_owned()));
        for value in ["W/\"abc\"", "abc", "\"", ""] {
            assert_eq!(strong_etag(&with(ETAG, value)), None, "{value}");
        }
    }

    #[test]
    fn content_ranges_are_read_or_ignored() {
        let range = |start, total| Some(ContentRange { start, total });
        for (value, expected) in [
            ("bytes 0-9/10", range(Some(0), Some(10))),
            ("bytes 3-9/*", range(Some(3), None)),
            ("bytes */10", range(None, Some(10))),
            ("bytes 3-2/10", None),
            ("bytes 3-10/10", None),
            ("bytes a-9/10", None),
            ("items 0-9/10", None),
            ("bytes 0-9", None),
        ] {
            assert_eq!(content_range(&with(CONTENT_RANGE, value)), expected, "{value}");
        }
    }
}
