//! The segments of a raw request path (RFC 3986 §3.3).
//!
//! Routing goes by the path as it was sent: it is split first and each segment decoded once, so that
//! an encoded slash stays inside its segment and `..` has no meaning here. What a segment may hold
//! is for its type to say (a media ID, a server name, a file name).

use std::borrow::Cow;

pub use crate::percent::DecodeError;

/// The segments of `path`, still encoded, without the empty one before the leading slash. A slash at
/// the end or a doubled one gives an empty segment: `/a//b/` is `a`, ``, `b`, ``.
pub fn segments(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// The text of one segment; borrowed if nothing had to be decoded. A `+` is a plus. The result may
/// hold anything, `/`, `..` and controls included.
///
/// # Errors
/// If a `%` is not followed by two hexadecimal digits, or the result is not UTF-8.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, DecodeError> {
    crate::percent::decode(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_before_it_is_decoded() {
        let table: &[(&str, &[&str])] = &[
            ("/a/b", &["a", "b"]),
            ("/a%2Fb/c", &["a%2Fb", "c"]),
            ("/a//b/", &["a", "", "b", ""]),
            ("/", &[""]),
            ("", &[""]),
            ("*", &["*"]),
            ("/../..", &["..", ".."]),
        ];
        for (path, expected) in table {
            assert_eq!(segments(path).collect::<Vec<_>>(), *expected, "{path}");
        }
    }

    #[test]
    fn a_segment_is_decoded_once() {
        let table = [
            ("", ""),
            ("abc_-9", "abc_-9"),
            ("a+b", "a+b"),
            ("%61%2f%2F", "a//"),
            ("%2561", "%61"),
            ("%E2%98%83.png", "☃.png"),
            ("☃", "☃"),
            ("%00", "\0"),
        ];
        for (segment, expected) in table {
            assert_eq!(decode_segment(segment).as_deref(), Ok(expected), "{segment}");
        }
    }

    #[test]
    fn a_plain_segment_is_not_copied() {
        assert!(matches!(decode_segment("abc"), Ok(Cow::Borrowed("abc"))));
    }

    #[test]
    fn a_stray_percent_is_refused() {
        for segment in ["%", "a%", "%4", "%zz", "%4g", "%%41", "100%", "%☃☃", "%+1"] {
            assert_eq!(decode_segment(segment), Err(DecodeError::Malformed), "{segment}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused() {
        for segment in ["%ff", "%C3", "%C3%28", "%ED%A0%80", "%C0%AF"] {
            assert_eq!(decode_segment(segment), Err(DecodeError::NotUtf8), "{segment}");
        }
    }
}
