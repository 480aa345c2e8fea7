//! Whatever another server sends can be read and passed on without change, and whatever name a user chooses becomes a
//! valid header that reads back as that name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tintype_http::disposition::{self, ContentDisposition, Disposition, MAX_LENGTH};

fuzz_target!(|input: &[u8]| {
    disposition::disposition_for(input);

    let read = disposition::parse(input);
    round_trip(&read);

    if let Ok(name) = str::from_utf8(input) {
        for disposition in [Disposition::Inline, Disposition::Attachment] {
            let filename = (!name.is_empty()).then(|| name.to_owned());
            round_trip(&ContentDisposition { disposition, filename });
        }
    }
});

fn round_trip(expected: &ContentDisposition) {
    let value = disposition::format(expected.disposition, expected.filename.as_deref());
    assert!(value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')));
    if value.len() <= MAX_LENGTH {
        assert_eq!(disposition::parse(value.as_bytes()), *expected);
    }
}
