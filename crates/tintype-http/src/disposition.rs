//! `Content-Disposition`: whether a browser may show a file and what it is called (RFC 6266), both
//! writing ours and reading those of other servers.
//!
//! The name is the most hostile text there is in an answer: it is chosen by the uploader and put
//! into a header. So it is written in one of two forms that leave no choice to the reader: a plain
//! token in quotes, or every other byte percent-encoded (RFC 8187). Reading is lenient, since other
//! servers write what they like, and bounded.

use std::borrow::Cow;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// The longest value that is read, in bytes; a longer one is an attachment without a name.
pub const MAX_LENGTH: usize = 16 * 1024;

/// The most parameters that are read.
const MAX_PARAMETERS: usize = 32;

/// What is encoded in `filename*`: everything but the `attr-char` of RFC 8187 §3.2.1.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The types that may be shown where they are opened: those that cannot carry a script (Matrix
/// client-server API 1.12, "Serving inline content"). SVG, HTML, JavaScript and PDF are missing on
/// purpose.
const INLINE: &[&str] = &[
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// What a browser is to do with a file that is opened by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Show it.
    Inline,
    /// Save it.
    Attachment,
}

/// A `Content-Disposition` that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDisposition {
    /// Anything but `inline` is an attachment (RFC 6266 §4.2).
    pub disposition: Disposition,
    /// The name as the sender gave it, never empty. It may hold path separators, controls and
    /// anything else: it is a label to pass on, not a path to open.
    pub filename: Option<String>,
}

/// How a file of this type is to be served: inline only for the types that Matrix lists. Only the
/// essence counts, what stands before the `;`, without regard to case.
pub fn disposition_for(content_type: &[u8]) -> Disposition {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if INLINE.iter().any(|listed| essence.eq_ignore_ascii_case(listed.as_bytes())) {
        Disposition::Inline
    } else {
        Disposition::Attachment
    }
}

/// The value of the header. A name of token characters only (RFC 9110 §5.6.2) becomes
/// `filename="…"`, any other `filename*=utf-8''…`; an empty one is left out. The value is up to
/// three times as long as the name.
pub fn format(disposition: Disposition, filename: Option<&str>) -> HeaderValue {
    let disposition = match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    match filename {
        None | Some("") => HeaderValue::from_static(disposition),
        Some(name) => {
            let value = if name.bytes().all(is_plain) {
                format!("{disposition}; filename=\"{name}\"")
            } else {
                format!("{disposition}; filename*=utf-8''{}", utf8_percent_encode(name, ENCODED))
            };
            HeaderValue::try_from(value).expect("tokens and percent-encoded text are visible ASCII")
        }
    }
}

/// A token character, but for `%`, which some browsers decode even in quotes (RFC 6266 appendix D).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte)
}

/// Reads a value, whatever it is: what cannot be understood is left out. A usable `filename*` is
/// preferred to `filename` (RFC 6266 §4.3); of each, the first counts.
pub fn parse(value: &[u8]) -> ContentDisposition {
    let mut parsed = ContentDisposition { disposition: Disposition::Attachment, filename: None };
    if value.len() > MAX_LENGTH {
        return parsed;
    }
    let (kind, mut rest) = up_to_semicolon(value);
    if kind.trim_ascii().eq_ignore_ascii_case(b"inline") {
        parsed.disposition = Disposition::Inline;
    }
    let (mut plain, mut extended) = (None, None);
    for _ in 0..MAX_PARAMETERS {
        let Some((Parameter { name, value }, after)) = first_parameter(rest) else {
            break;
        };
        if name.eq_ignore_ascii_case(b"filename") {
            plain = plain.or_else(|| not_empty(utf8_or_latin1(&value)));
        } else if name.eq_ignore_ascii_case(b"filename*") {
            extended = extended.or_else(|| extended_value(&value).and_then(not_empty));
        }
        rest = after;
    }
    parsed.filename = extended.or(plain);
    parsed
}

/// One `;name=value`, quotes and escapes undone.
struct Parameter<'a> {
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// The parameter that `text` begins with, and what follows it.
fn first_parameter(text: &[u8]) -> Option<(Parameter<'_>, &[u8])> {
    let text = text.strip_prefix(b";")?;
    let name_end = text.iter().position(|&byte| matches!(byte, b'=' | b';')).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let name = name.trim_ascii();
    let Some(rest) = rest.strip_prefix(b"=") else {
        return Some((Parameter { name, value: Cow::Borrowed(b"") }, rest));
    };
    let rest = rest.trim_ascii_start();
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let (value, after) = unquoted(quoted);
        return Some((Parameter { name, value: Cow::Owned(value) }, up_to_semicolon(after).1));
    }
    let (value, rest) = up_to_semicolon(rest);
    Some((Parameter { name, value: Cow::Borrowed(value.trim_ascii_end()) }, rest))
}

fn up_to_semicolon(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&byte| byte == b';').unwrap_or(text.len()))
}

/// The text of a quoted-string after its first quote, escapes undone (RFC 9110 §5.6.4), and what
/// follows the second. Without a second quote it goes on to the end.
fn unquoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return (value, rest),
            [b'"', after @ ..] => return (value, after),
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// The text of a `charset'language'percent-encoded` value (RFC 8187 §3.2); `None` if the charset is
/// not one of the two that were ever required, or the bytes are not of it.
fn extended_value(value: &[u8]) -> Option<String> {
    let mut pieces = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let bytes = percent_decode(encoded).collect::<Vec<u8>>();
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(latin1(&bytes))
    } else {
        None
    }
}

/// What is not UTF-8 in a plain parameter is taken for Latin-1, its formal charset.
fn utf8_or_latin1(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| latin1(bytes), str::to_owned)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn not_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
