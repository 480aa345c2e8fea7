//! A `Range` header never asks for a byte twice or for one that is not there, and the multipart body it leads to is as
//! long as it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype_http::byteranges::{Boundary, MultipartByteranges};
use tintype_http::range::{MAX_RANGES, Ranges};

fuzz_target!(|input: (u64, &[u8], &[u8])| {
    let (length, value, content_type) = input;
    let ranges = match Ranges::parse(value, length) {
        Ranges::Whole | Ranges::Unsatisfiable => return,
        Ranges::One(range) => vec![range],
        Ranges::Many(ranges) => {
            assert!(ranges.len() > 1);
            ranges
        }
    };

    assert!(ranges.len() <= MAX_RANGES);
    for (at, range) in ranges.iter().enumerate() {
        assert!(range.start() < range.end() && range.end() <= length);
        for other in &ranges[at + 1..] {
            assert!(range.end() < other.start() || other.end() < range.start());
        }
    }

    let bytes: u64 = ranges.iter().map(|range| range.length()).sum();
    assert!(bytes <= length);
    let frame = MultipartByteranges::new(Boundary::from_random([7; 16]), content_type, ranges, length);
    let mut framing = frame.tail().len() as u64;
    for part in 0..frame.ranges().len() {
        let head = frame.part_head(part);
        let first_blank_line = head.windows(4).position(|window| window == b"\r\n\r\n");
        assert_eq!(first_blank_line, Some(head.len() - 4));
        framing += head.len() as u64;
    }
    assert_eq!(frame.content_length(), bytes.saturating_add(framing));
});
