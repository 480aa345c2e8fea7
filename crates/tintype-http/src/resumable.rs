//! The headers of resumable uploads (IETF draft "Resumable Uploads for HTTP",
//! draft-ietf-httpbis-resumable-upload, as of July 2026).
//!
//! They are structured fields (RFC 9651). The draft says of each that any other value makes the whole field be
//! ignored; so a malformed one is as good as none.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use sfv::{Item, Parser};

/// Whether the upload is whole.
pub const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

/// Bytes of the upload that are there.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Bytes of the whole upload.
pub const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");

/// What the server takes, and for how long.
pub const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");

/// The `Upload-Complete` of an upload that is whole.
pub const COMPLETE: HeaderValue = HeaderValue::from_static("?1");

/// The `Upload-Complete` of one that is not.
pub const INCOMPLETE: HeaderValue = HeaderValue::from_static("?0");

/// The largest integer that a structured field can hold.
const LARGEST: u64 = 999_999_999_999_999;

/// The value of `Upload-Complete`; none if it is not there, or malformed.
pub fn upload_complete(headers: &HeaderMap) -> Option<bool> {
    item(headers, &UPLOAD_COMPLETE)?.bare_item.as_boolean()
}

/// The value of `Upload-Offset` in bytes; none if it is not there, or malformed.
pub fn upload_offset(headers: &HeaderMap) -> Option<u64> {
    integer(headers, &UPLOAD_OFFSET)
}

/// The value of `Upload-Length` in bytes; none if it is not there, or malformed.
pub fn upload_length(headers: &HeaderMap) -> Option<u64> {
    integer(headers, &UPLOAD_LENGTH)
}

/// Whether the content is a part of an upload: `application/partial-upload`.
pub fn is_partial_upload(headers: &HeaderMap) -> bool {
    let essence = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/partial-upload")
    };
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    values.next().is_some_and(essence) && values.next().is_none()
}

/// A value of `Upload-Limit`: the largest upload in bytes, and how long what has come of this one is kept, where that
/// is limited.
pub fn upload_limit(max_size: u64, max_age: Option<Duration>) -> HeaderValue {
    let max_size = max_size.min(LARGEST);
    let value = match max_age {
        Some(max_age) => format!("max-size={max_size}, max-age={}", max_age.as_secs().min(LARGEST)),
        None => format!("max-size={max_size}"),
    };
    HeaderValue::try_from(value).expect("keys and digits are a valid header")
}

fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let integer = item(headers, name)?.bare_item.as_integer()?;
    u64::try_from(i64::from(integer)).ok()
}

fn item(headers: &HeaderMap, name: &HeaderName) -> Option<Item> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    Parser::new(value.as_bytes()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn an_upload_is_complete_or_not() {
        let complete = |values: &[&str]| upload_complete(&headers(&UPLOAD_COMPLETE, values));

        assert_eq!(complete(&["?1"]), Some(true));
        assert_eq!(complete(&["?0"]), Some(false));
        assert_eq!(complete(&[" ?1 "]), Some(true));
        assert_eq!(complete(&["?1;because=\"done\""]), Some(true));
    }

    #[test]
    fn any_other_value_is_ignored() {
        for values in [&[][..], &[""], &["1"], &["true"], &["?2"], &["?1, ?1"], &["?1", "?1"], &["?"], &["\"?1\""]] {
            assert_eq!(upload_complete(&headers(&UPLOAD_COMPLETE, values)), None, "{values:?}");
        }
    }

    #[test]
    fn offsets_and_lengths_are_whole_numbers_of_zero_or_more() {
        let offset = |value: &str| upload_offset(&headers(&UPLOAD_OFFSET, &[value]));

        assert_eq!(offset("0"), Some(0));
        assert_eq!(offset("25000000"), Some(25_000_000));
        assert_eq!(offset("999999999999999"), Some(LARGEST));
        for other in ["", "-1", "1.0", "1e3", "1000000000000000", "?1", "ten", "1 2", "0x10", "(1 2)"] {
            assert_eq!(offset(other), None, "{other}");
        }
        assert_eq!(upload_length(&headers(&UPLOAD_LENGTH, &["12;unit=\"bytes\""])), Some(12));
    }

    #[test]
    fn limits_are_a_dictionary() {
        assert_eq!(upload_limit(100, None), "max-size=100");
        assert_eq!(upload_limit(100, Some(Duration::from_mins(1))), "max-size=100, max-age=60");
        assert_eq!(upload_limit(u64::MAX, Some(Duration::MAX)), "max-size=999999999999999, max-age=999999999999999");
    }

    #[test]
    fn the_type_of_a_part_may_have_parameters_and_any_case() {
        let is_partial = |values: &[&str]| is_partial_upload(&headers(&CONTENT_TYPE, values));

        assert!(is_partial(&["application/partial-upload"]));
        assert!(is_partial(&["Application/Partial-Upload; a=b"]));
        for other in [&[][..], &["application/octet-stream"], &["application/partial-upload", "image/png"], &["x"]] {
            assert!(!is_partial(other), "{other:?}");
        }
    }
}
