//! The body of an answer with several ranges: `multipart/byteranges` (RFC 9110 §14.6).
//!
//! Only the lines between the parts are made here, and their exact total length, so that the answer
//! has a `Content-Length` and its bytes can be streamed from wherever they are. The body is, for
//! each range, its head and its bytes, and after the last one the tail.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;

use crate::range::ByteRange;

/// The line that separates the parts of a multipart body. Parts hold arbitrary bytes that are not
/// searched for it, so it has to be unguessable by whoever uploaded them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// A boundary spelled from random bytes, as 32 hexadecimal digits (RFC 2046 §5.1.1 allows 70
    /// characters).
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    /// The boundary without the leading dashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The frame of one `multipart/byteranges` body.
#[derive(Clone, Debug)]
pub struct MultipartByteranges {
    boundary: Boundary,
    ranges: Vec<ByteRange>,
    heads: Vec<Bytes>,
    tail: Bytes,
}

impl MultipartByteranges {
    /// The frame for `ranges` of a representation of `complete_length` bytes and of type
    /// `content_type`. A type that is not a valid header value is left out of the parts, so that
    /// it cannot end their header section.
    pub fn new(boundary: Boundary, content_type: &[u8], ranges: Vec<ByteRange>, complete_length: u64) -> Self {
        let content_type = HeaderValue::from_bytes(content_type).ok();
        let heads = ranges
            .iter()
            .enumerate()
            .map(|(index, range)| {
                let mut head = Vec::with_capacity(160);
                if index > 0 {
                    head.extend_from_slice(b"\r\n");
                }
                head.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                if let Some(content_type) = &content_type {
                    head.extend_from_slice(b"Content-Type: ");
                    head.extend_from_slice(content_type.as_bytes());
                    head.extend_from_slice(b"\r\n");
                }
                head.extend_from_slice(b"Content-Range: ");
                head.extend_from_slice(range.content_range(complete_length).as_bytes());
                head.extend_from_slice(b"\r\n\r\n");
                Bytes::from(head)
            })
            .collect();
        let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self { boundary, ranges, heads, tail }
    }

    /// The `Content-Type` of the whole answer.
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.boundary))
            .expect("a boundary is hexadecimal digits")
    }

    /// The `Content-Length` of the whole answer: every head, every range, the tail.
    pub fn content_length(&self) -> u64 {
        let frame = self.heads.iter().chain([&self.tail]);
        let frame = frame.map(|piece| piece.len() as u64);
        let bytes = self.ranges.iter().map(|range| range.length());
        frame.chain(bytes).fold(0, u64::saturating_add)
    }

    /// The ranges, in the order of the parts.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// What goes before the bytes of the range at `index`.
    ///
    /// # Panics
    /// If there is no such range.
    pub fn part_head(&self, index: usize) -> Bytes {
        self.heads[index].clone()
    }

    /// What goes after the bytes of the last range.
    pub fn tail(&self) -> Bytes {
        self.tail.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(content_type: &[u8], ranges: &[(u64, u64)], length: u64) -> MultipartByteranges {
        let ranges = ranges.iter().filter_map(|&(start, end)| ByteRange::new(start, end));
        MultipartByteranges::new(Boundary::from_random([0xab; 16]), content_type, ranges.collect(), length)
    }

    fn body(frame: &MultipartByteranges, representation: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, range) in frame.ranges().iter().enumerate() {
            body.extend_from_slice(&frame.part_head(index));
            let start = usize::try_from(range.start()).unwrap();
            let end = usize::try_from(range.end()).unwrap();
            body.extend_from_slice(&representation[start..end]);
        }
        body.extend_from_slice(&frame.tail());
        body
    }

    #[test]
    fn a_body_is_framed_as_in_the_rfc_and_as_long_as_it_says() {
        let frame = frame(b"application/pdf", &[(0, 2), (5, 9)], 10);

        let body = body(&frame, b"0123456789");

        let expected = "--abababababababababababababababab\r\n\
            Content-Type: application/pdf\r\n\
            Content-Range: bytes 0-1/10\r\n\
            \r\n\
            01\r\n\
            --abababababababababababababababab\r\n\
            Content-Type: application/pdf\r\n\
            Content-Range: bytes 5-8/10\r\n\
            \r\n\
            5678\r\n\
            --abababababababababababababababab--\r\n";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(frame.content_length(), expected.len() as u64);
        assert_eq!(frame.content_type(), "multipart/byteranges; boundary=abababababababababababababababab");
    }

    #[test]
    fn a_type_that_would_end_the_head_is_left_out() {
        let frame = frame(b"text/plain\r\nSet-Cookie: a=b", &[(0, 1), (3, 4)], 10);

        assert_eq!(frame.part_head(0), "--abababababababababababababababab\r\nContent-Range: bytes 0-0/10\r\n\r\n");
    }

    #[test]
    fn an_odd_type_comes_back_byte_for_byte() {
        let frame = frame(b"img/\xe4; a=\"b\"", &[(0, 1), (3, 4)], 10);

        let head = frame.part_head(1);

        let expected = b"\r\n--abababababababababababababababab\r\nContent-Type: img/\xe4; a=\"b\"\r\n";
        assert!(head.starts_with(expected));
    }

    #[test]
    fn lengths_near_the_limit_do_not_overflow() {
        let frame = frame(b"a/b", &[(0, u64::MAX - 5), (u64::MAX - 3, u64::MAX)], u64::MAX);

        assert_eq!(frame.content_length(), u64::MAX);
    }

    #[test]
    fn a_boundary_keeps_its_leading_zeros() {
        assert_eq!(Boundary::from_random([0; 16]).as_str(), "0".repeat(32));
    }
}
