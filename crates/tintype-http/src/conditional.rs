//! Conditional requests for a representation with a strong entity tag and no modification date
//! (RFC 9110 §13).
//!
//! Media never changes under its name, so a tag says all there is to say and `Last-Modified` is not
//! sent; hence the date conditions are ignored, and an `If-Range` with a date never holds. A tag
//! that cannot be read matches nothing: the worst that follows is that bytes are sent again.

use http::{HeaderMap, HeaderValue, header};

/// A strong entity tag: what it names is the same, byte for byte, wherever the tag is the same
/// (RFC 9110 §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(HeaderValue);

/// The text between the quotes of an entity tag may hold visible ASCII without quotes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entity tag holds visible ASCII characters other than quotes")]
pub struct InvalidETag;

impl ETag {
    /// The tag `"opaque"`; the quotes are added here.
    ///
    /// # Errors
    /// If `opaque` holds a quote, a space, a control or something outside ASCII.
    pub fn new(opaque: &str) -> Result<Self, InvalidETag> {
        if !opaque.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            return Err(InvalidETag);
        }
        HeaderValue::try_from(format!("\"{opaque}\"")).map(Self).map_err(|_| InvalidETag)
    }

    /// The tag with its quotes, as the `ETag` header has it. Cheap: the text is shared.
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    fn is(&self, other: &[u8]) -> bool {
        self.0.as_bytes() == other
    }
}

/// What the conditions of a `GET` or `HEAD` come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Answer as if there were no conditions.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// The client asked for something else: 412.
    Failed,
}

/// Whether to answer a `GET` or `HEAD` for the representation that `tag` names: first `If-Match`,
/// then `If-None-Match` (the order of RFC 9110 §13.2.2).
pub fn evaluate(headers: &HeaderMap, tag: &ETag) -> Precondition {
    if headers.contains_key(header::IF_MATCH) && !names(headers, header::IF_MATCH, tag, Comparison::Strong) {
        return Precondition::Failed;
    }
    if names(headers, header::IF_NONE_MATCH, tag, Comparison::Weak) {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// Whether the `Range` header counts for the representation that `tag` names: there is no
/// `If-Range`, or it holds exactly this tag (RFC 9110 §13.1.5). If not, the whole is sent.
pub fn range_applies(headers: &HeaderMap, tag: &ETag) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => tag.is(value.as_bytes().trim_ascii()),
        (Some(_), Some(_)) => false,
    }
}

/// How two tags are compared (RFC 9110 §8.8.3.2). Ours is always strong.
#[derive(Clone, Copy)]
enum Comparison {
    /// Weak tags match nothing.
    Strong,
    /// Weakness is not looked at.
    Weak,
}

/// Whether the lines of a header of type `"*" / #entity-tag` name `tag`.
fn names(headers: &HeaderMap, name: header::HeaderName, tag: &ETag, comparison: Comparison) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*" || list_names(value, tag, comparison)
    })
}

/// Walks a list of entity tags. Commas may stand inside the quotes, so it cannot simply be split.
fn list_names(mut rest: &[u8], tag: &ETag, comparison: Comparison) -> bool {
    while !rest.is_empty() {
        let (element, after) = first_element(rest);
        let element = element.trim_ascii();
        let candidate = match (element.strip_prefix(b"W/"), comparison) {
            (Some(weak), Comparison::Weak) => weak,
            (Some(_), Comparison::Strong) | (None, _) => element,
        };
        if tag.is(candidate) {
            return true;
        }
        rest = after;
    }
    false
}

/// The text before the first comma outside quotes, and what follows it. Entity tags know no
/// escapes: a backslash is a character like any other.
fn first_element(list: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    for (at, byte) in list.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&list[..at], &list[at + 1..]),
            _ => {}
        }
    }
    (list, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> ETag {
        ETag::new("xyzzy").expect("letters are a tag")
    }

    fn headers(lines: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).expect("a test sends a valid header"));
        }
        headers
    }

    #[test]
    fn a_tag_is_quoted_and_cannot_break_out_of_its_quotes() {
        assert_eq!(tag().header_value(), "\"xyzzy\"");
        for bad in ["a\"b", "a b", "a\r\nb", "ä", "a\u{7f}"] {
            assert_eq!(ETag::new(bad), Err(InvalidETag), "{bad:?}");
        }
    }

    #[test]
    fn without_conditions_the_request_proceeds() {
        assert_eq!(evaluate(&HeaderMap::new(), &tag()), Precondition::Proceed);
    }

    #[test]
    fn if_none_match_compares_weakly_in_lists_and_lines() {
        let table: &[(&[u8], Precondition)] = &[
            (b"\"xyzzy\"", Precondition::NotModified),
            (b"W/\"xyzzy\"", Precondition::NotModified),
            (b"\"r2d2xxxx\", \"xyzzy\", \"c3piozzzz\"", Precondition::NotModified),
            (b"W/\"a\",W/\"xyzzy\"", Precondition::NotModified),
            (b", ,\"xyzzy\"", Precondition::NotModified),
            (b"*", Precondition::NotModified),
            (b" * ", Precondition::NotModified),
            (b"junk, \"xyzzy\"", Precondition::NotModified),
            (b"\"XYZZY\"", Precondition::Proceed),
            (b"\"other\"", Precondition::Proceed),
            (b"\"a,b\"", Precondition::Proceed),
            (b"\"a, \"xyzzy\", b\"", Precondition::Proceed),
            (b"xyzzy", Precondition::Proceed),
            (b"\"xyzzy", Precondition::Proceed),
            (b"xyzzy\"", Precondition::Proceed),
            (b"w/\"xyzzy\"", Precondition::Proceed),
            (b"\"xyzzy\"x", Precondition::Proceed),
            (b"\"\\\"xyzzy\"", Precondition::Proceed),
            (b"\xff\"xyzzy\"", Precondition::Proceed),
            (b"", Precondition::Proceed),
        ];
        for (value, expected) in table {
            let headers = headers(&[("if-none-match", value)]);
            assert_eq!(evaluate(&headers, &tag()), *expected, "{}", value.escape_ascii());
        }
        let two_lines = headers(&[("if-none-match", b"\"a\""), ("if-none-match", b"\"xyzzy\"")]);
        assert_eq!(evaluate(&two_lines, &tag()), Precondition::NotModified);
    }

    #[test]
    fn a_comma_inside_a_tag_belongs_to_it() {
        let tag = ETag::new("a,b").unwrap();
        let headers = headers(&[("if-none-match", b"\"x\", \"a,b\"")]);

        assert_eq!(evaluate(&headers, &tag), Precondition::NotModified);
    }

    #[test]
    fn if_match_compares_strongly() {
        let table: &[(&[u8], Precondition)] = &[
            (b"\"xyzzy\"", Precondition::Proceed),
            (b"\"a\", \"xyzzy\"", Precondition::Proceed),
            (b"*", Precondition::Proceed),
            (b"W/\"xyzzy\"", Precondition::Failed),
            (b"\"a\"", Precondition::Failed),
            (b"junk", Precondition::Failed),
            (b"", Precondition::Failed),
        ];
        for (value, expected) in table {
            let headers = headers(&[("if-match", value)]);
            assert_eq!(evaluate(&headers, &tag()), *expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn if_match_is_judged_before_if_none_match() {
        let failing = headers(&[("if-match", b"\"a\""), ("if-none-match", b"\"xyzzy\"")]);
        let holding = headers(&[("if-match", b"\"xyzzy\""), ("if-none-match", b"\"xyzzy\"")]);

        assert_eq!(evaluate(&failing, &tag()), Precondition::Failed);
        assert_eq!(evaluate(&holding, &tag()), Precondition::NotModified);
    }

    #[test]
    fn date_conditions_are_ignored() {
        let headers = headers(&[
            ("if-modified-since", b"Sat, 29 Oct 2094 19:43:31 GMT"),
            ("if-unmodified-since", b"Sat, 29 Oct 1994 19:43:31 GMT"),
        ]);

        assert_eq!(evaluate(&headers, &tag()), Precondition::Proceed);
    }

    #[test]
    fn a_range_applies_without_if_range_or_with_exactly_this_tag() {
        assert!(range_applies(&HeaderMap::new(), &tag()));
        assert!(range_applies(&headers(&[("if-range", b"\"xyzzy\"")]), &tag()));
        for value in
            [&b"W/\"xyzzy\""[..], b"\"a\"", b"\"xyzzy\", \"a\"", b"*", b"Sat, 29 Oct 2094 19:43:31 GMT", b"", b"\xff"]
        {
            assert!(!range_applies(&headers(&[("if-range", value)]), &tag()), "{}", value.escape_ascii());
        }
        let two_lines = headers(&[("if-range", b"\"xyzzy\""), ("if-range", b"\"xyzzy\"")]);
        assert!(!range_applies(&two_lines, &tag()));
    }
}
