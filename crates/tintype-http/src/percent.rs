//! Strict percent-decoding, shared by paths and queries (RFC 3986 §2.1).
//!
//! Lenient decoders pass a stray `%` through and replace bytes that are not UTF-8. Then two
//! spellings that differ name the same thing, and what was signed, logged or checked is not what is
//! used. Here such input is an error.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a text cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("has a % that two hexadecimal digits do not follow")]
    Malformed,
    /// The decoded bytes are not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
}

/// The text meant by `encoded`; borrowed if nothing had to be decoded.
pub(crate) fn decode(encoded: &str) -> Result<Cow<'_, str>, DecodeError> {
    let mut rest = encoded.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        match &rest[at + 1..] {
            [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = after,
            _ => return Err(DecodeError::Malformed),
        }
    }
    percent_decode_str(encoded).decode_utf8().map_err(|_| DecodeError::NotUtf8)
}
