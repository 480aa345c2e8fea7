//! The `Range` request header and the `Content-Range` of its answer (RFC 9110 §14).
//!
//! A range request is an optimisation: one that is malformed, in an unknown unit or greedy is
//! ignored and the whole representation sent, as the RFC asks. Ranges that overlap or touch are
//! joined, so that an answer never carries a byte twice and a short request cannot ask for more
//! than the representation holds (the multi-range amplification attacks of RFC 9110 §17.15).

use http::{HeaderMap, HeaderValue, header};

/// The most ranges one request may name; a request for more is answered with the whole
/// representation. Readers that seek (players, PDF viewers) ask for a handful.
pub const MAX_RANGES: usize = 16;

/// A run of bytes of a representation that holds at least one byte and lies inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The bytes from `start` up to but not including `end`; `None` if there are none.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The offset of the first byte.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The offset after the last byte.
    pub fn end(self) -> u64 {
        self.end
    }

    /// The number of bytes, at least one.
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    /// The value of `Content-Range` for this part of a representation of `complete_length` bytes:
    /// `bytes 0-499/1234`.
    pub fn content_range(self, complete_length: u64) -> HeaderValue {
        let value = format!("bytes {}-{}/{complete_length}", self.start, self.end - 1);
        HeaderValue::try_from(value).expect("digits and ASCII punctuation are a valid header")
    }

    /// The value of `Content-Range` for this part of a representation whose length is not known yet: `bytes 0-499/*`.
    pub fn content_range_of_unknown_length(self) -> HeaderValue {
        let value = format!("bytes {}-{}/*", self.start, self.end - 1);
        HeaderValue::try_from(value).expect("digits and ASCII punctuation are a valid header")
    }

    fn touches(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn joined_with(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// The value of `Content-Range` on a 416 answer: `bytes */1234` (RFC 9110 §15.5.17).
pub fn unsatisfied_content_range(complete_length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{complete_length}"))
        .expect("digits and ASCII punctuation are a valid header")
}

/// What a request asks for of a representation whose length is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Everything: 200. Also the answer to a `Range` that is to be ignored.
    Whole,
    /// One run of bytes: 206 with `Content-Range`.
    One(ByteRange),
    /// Two to [`MAX_RANGES`] runs, apart from one another, in the order asked for: 206 with
    /// [`multipart/byteranges`](crate::byteranges).
    Many(Vec<ByteRange>),
    /// No byte of the representation: 416 with [`unsatisfied_content_range`].
    Unsatisfiable,
}

impl Ranges {
    /// What the `Range` header of a `GET` asks for of `length` bytes. No header, or more than one
    /// (`Range` is not a list that may be split over lines), asks for the whole. Whether the header
    /// counts at all is decided before, by [`range_applies`](crate::conditional::range_applies).
    pub fn requested(headers: &HeaderMap, length: u64) -> Self {
        let mut values = headers.get_all(header::RANGE).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes(), length),
            _ => Self::Whole,
        }
    }

    /// What one `Range` value asks for of `length` bytes.
    pub fn parse(value: &[u8], length: u64) -> Self {
        let Some(specs) = specs(value) else {
            return Self::Whole;
        };
        // A suffix of an empty representation is satisfiable (RFC 9110 §14.1.2), but no
        // `Content-Range` can say "no bytes": the whole, which is nothing, says it.
        if length == 0 && specs.iter().any(|spec| matches!(spec, Spec::Last(1..))) {
            return Self::Whole;
        }
        let mut ranges = Vec::with_capacity(specs.len());
        for range in specs.into_iter().filter_map(|spec| spec.within(length)) {
            add(&mut ranges, range);
        }
        match ranges.as_slice() {
            [] => Self::Unsatisfiable,
            [range] => Self::One(*range),
            _ => Self::Many(ranges),
        }
    }
}

/// What the `Range` header of a `GET` asks for of a representation whose length is not known yet: one run of bytes from
/// somewhere after the beginning, up to `u64::MAX` where no end is given. Everything else asks for the whole: an end
/// that cannot be told, several runs, and a run that begins at the beginning and has no end, which is the whole.
pub fn requested_of_unknown_length(headers: &HeaderMap) -> Option<ByteRange> {
    let mut values = headers.get_all(header::RANGE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    match specs(value.as_bytes())?[..] {
        [Spec::From { first: 0, last: u64::MAX }] => None,
        [Spec::From { first, last }] => ByteRange::new(first, last.saturating_add(1)),
        _ => None,
    }
}

/// One `range-spec`, not yet held against a length.
#[derive(Clone, Copy)]
enum Spec {
    /// `first-` or `first-last`, both inclusive.
    From { first: u64, last: u64 },
    /// `-count`.
    Last(u64),
}

impl Spec {
    /// The bytes meant, cut to the representation; `None` if it has none of them.
    fn within(self, length: u64) -> Option<ByteRange> {
        match self {
            Self::From { first, last } => ByteRange::new(first, last.saturating_add(1).min(length)),
            Self::Last(count) => ByteRange::new(length.saturating_sub(count), length),
        }
    }
}

/// The specs of a `ranges-specifier` in bytes; `None` if it is malformed, in another unit, or names
/// more than [`MAX_RANGES`].
fn specs(value: &[u8]) -> Option<Vec<Spec>> {
    let value = value.trim_ascii();
    let equals = value.iter().position(|&byte| byte == b'=')?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Vec::new();
    // Empty elements are legal in a received list (RFC 9110 §5.6.1.2).
    let elements = set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    for element in elements.filter(|element| !element.is_empty()) {
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(spec(element)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(element: &[u8]) -> Option<Spec> {
    let dash = element.iter().position(|&byte| byte == b'-')?;
    match (&element[..dash], &element[dash + 1..]) {
        ([], count) => Some(Spec::Last(number(count)?)),
        (first, []) => Some(Spec::From { first: number(first)?, last: u64::MAX }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From { first, last })
        }
    }
}

/// A run of digits. A number too large for us saturates: no representation reaches that far.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// Adds a range, joined with those it touches, in the place of the first of them. Since the ranges
/// already there are apart from one another, what touches the result touched the addition.
fn add(ranges: &mut Vec<ByteRange>, added: ByteRange) {
    let Some(place) = ranges.iter().position(|range| range.touches(added)) else {
        ranges.push(added);
        return;
    };
    let mut joined = added;
    ranges.retain(|range| {
        let touches = range.touches(added);
        if touches {
            joined = joined.joined_with(*range);
        }
        !touches
    });
    ranges.insert(place, joined);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).expect("a test names a range with bytes in it")
    }

    fn one(start: u64, end: u64) -> Ranges {
        Ranges::One(range(start, end))
    }

    fn many(ranges: &[(u64, u64)]) -> Ranges {
        Ranges::Many(ranges.iter().map(|&(start, end)| range(start, end)).collect())
    }

    #[test]
    fn the_examples_of_rfc_9110_are_understood() {
        let table: &[(&str, Ranges)] = &[
            ("bytes=0-499", one(0, 500)),
            ("bytes=500-999", one(500, 1000)),
            ("bytes=-500", one(9500, 10000)),
            ("bytes=9500-", one(9500, 10000)),
            ("bytes=0-0,-1", many(&[(0, 1), (9999, 10000)])),
            ("bytes=500-600,601-999", one(500, 1000)),
            ("bytes=500-700,601-999", one(500, 1000)),
            ("bytes= 0-999, 4500-5499, -1000", many(&[(0, 1000), (4500, 5500), (9000, 10000)])),
        ];
        for (value, expected) in table {
            assert_eq!(Ranges::parse(value.as_bytes(), 10_000), *expected, "{value}");
        }
    }

    #[test]
    fn a_malformed_range_or_another_unit_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-0",
            "bytes=0-1x",
            "bytes=+1-2",
            "bytes=0--1",
            "bytes=0 - 1",
            "bytes =0-1",
            "bytes=0x0-1",
            "bytes=5",
            "bytes=0-1,junk",
            "bytes=0-1;2-3",
            "items=0-1",
            "=0-1",
            "seconds=1-2",
            "bytes=0-1,5-4",
        ] {
            assert_eq!(Ranges::parse(value.as_bytes(), 100), Ranges::Whole, "{value}");
        }
        assert_eq!(Ranges::parse(b"bytes=\xff-1", 100), Ranges::Whole);
    }

    #[test]
    fn the_unit_is_case_insensitive_and_empty_list_elements_are_skipped() {
        assert_eq!(Ranges::parse(b"Bytes=0-1", 100), one(0, 2));
        assert_eq!(Ranges::parse(b"bytes=, 0-1 ,\t,5-6,", 100), many(&[(0, 2), (5, 7)]));
    }

    #[test]
    fn a_range_is_cut_to_the_representation() {
        assert_eq!(Ranges::parse(b"bytes=90-200", 100), one(90, 100));
        assert_eq!(Ranges::parse(b"bytes=-200", 100), one(0, 100));
        assert_eq!(Ranges::parse(b"bytes=0-", 100), one(0, 100));
        assert_eq!(Ranges::parse(b"bytes=99-99", 100), one(99, 100));
    }

    #[test]
    fn a_range_past_the_end_is_unsatisfiable() {
        for value in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,200-300"] {
            assert_eq!(Ranges::parse(value.as_bytes(), 100), Ranges::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn one_satisfiable_range_among_others_is_enough() {
        assert_eq!(Ranges::parse(b"bytes=500-600,0-1,-0", 100), one(0, 2));
    }

    #[test]
    fn an_empty_representation_satisfies_a_suffix_only() {
        assert_eq!(Ranges::parse(b"bytes=0-", 0), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(b"bytes=0-0", 0), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(b"bytes=-0", 0), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(b"bytes=-5", 0), Ranges::Whole);
    }

    #[test]
    fn numbers_beyond_64_bits_saturate() {
        assert_eq!(Ranges::parse(b"bytes=10-99999999999999999999999999", 100), one(10, 100));
        assert_eq!(Ranges::parse(b"bytes=-99999999999999999999999999", 100), one(0, 100));
        assert_eq!(Ranges::parse(b"bytes=99999999999999999999999999-", 100), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(b"bytes=18446744073709551615-18446744073709551615", 100), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(b"bytes=0-18446744073709551615", u64::MAX), one(0, u64::MAX));
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_joined_in_the_place_of_the_first() {
        assert_eq!(Ranges::parse(b"bytes=50-59,0-9,60-69", 100), many(&[(50, 70), (0, 10)]));
        assert_eq!(Ranges::parse(b"bytes=90-,20-29,0-9,5-25", 100), many(&[(90, 100), (0, 30)]));
        assert_eq!(Ranges::parse(b"bytes=0-,0-,0-,0-", 100), one(0, 100));
        assert_eq!(Ranges::parse(b"bytes=10-19,0-9", 100), one(0, 20));
    }

    #[test]
    fn more_ranges_than_allowed_get_the_whole() {
        let ranges = |count: usize| {
            let specs: Vec<_> = (0..count).map(|at| format!("{}-{}", at * 4, at * 4)).collect();
            Ranges::parse(format!("bytes={}", specs.join(",")).as_bytes(), 1000)
        };
        assert!(matches!(ranges(MAX_RANGES), Ranges::Many(ranges) if ranges.len() == MAX_RANGES));
        assert_eq!(ranges(MAX_RANGES + 1), Ranges::Whole);
    }

    #[test]
    fn a_repeated_range_header_is_ignored() {
        let mut headers = HeaderMap::new();
        assert_eq!(Ranges::requested(&headers, 100), Ranges::Whole);
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(Ranges::requested(&headers, 100), one(0, 2));
        headers.append(header::RANGE, HeaderValue::from_static("bytes=4-5"));
        assert_eq!(Ranges::requested(&headers, 100), Ranges::Whole);
    }

    #[test]
    fn content_range_names_the_last_byte_and_the_length() {
        assert_eq!(range(0, 500).content_range(1234), "bytes 0-499/1234");
        assert_eq!(range(7, 8).content_range(8), "bytes 7-7/8");
        assert_eq!(unsatisfied_content_range(1234), "bytes */1234");
        assert_eq!(unsatisfied_content_range(0), "bytes */0");
    }

    #[test]
    fn of_an_unknown_length_one_run_that_begins_somewhere_is_asked_for() {
        let requested = |values: &[&str]| {
            let values = values.iter().map(|value| (header::RANGE, HeaderValue::from_str(value).unwrap()));
            requested_of_unknown_length(&values.collect())
        };

        assert_eq!(requested(&["bytes=0-0"]), ByteRange::new(0, 1));
        assert_eq!(requested(&["bytes=0-499"]), ByteRange::new(0, 500));
        assert_eq!(requested(&["bytes=500-"]), ByteRange::new(500, u64::MAX));
        assert_eq!(requested(&["BYTES= 5-9 ,"]), ByteRange::new(5, 10));
        assert_eq!(requested(&["bytes=5-99999999999999999999"]), ByteRange::new(5, u64::MAX));
        for whole in [
            &[][..],
            &["bytes=0-"],
            &["bytes=-5"],
            &["bytes=1-2,4-5"],
            &["bytes=5-4"],
            &["bytes="],
            &["items=1-2"],
            &["bytes=1-2", "bytes=1-2"],
            &["bytes=18446744073709551615-"],
        ] {
            assert_eq!(requested(whole), None, "{whole:?}");
        }
    }

    #[test]
    fn a_part_of_an_unknown_length_says_so() {
        assert_eq!(range(0, 500).content_range_of_unknown_length(), "bytes 0-499/*");
    }
}
