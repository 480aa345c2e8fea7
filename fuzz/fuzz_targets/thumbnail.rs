//! No file makes the thumbnailer panic, exceed its limits or answer with something that is not a picture of the size it
//! names. The whole input is the file, so that real pictures can be the corpus. The fuzzer stops at panics inside the
//! decoders too, although `thumbnail` would contain them.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use tintype_thumbnails::{Dimensions, Limits, Method, Request, Thumbnail, ThumbnailError, thumbnail};

const LIMITS: Limits = Limits { max_pixels: 1 << 18, max_source_bytes: 1 << 20, max_memory: 16 << 20 };

fuzz_target!(|file: &[u8]| {
    for (method, width, height) in [(Method::Scale, 32, 32), (Method::Crop, 7, 40)] {
        if let Ok(Thumbnail::Encoded { bytes, format, dimensions }) = make(file, method, width, height) {
            assert!(dimensions.pixels() <= LIMITS.max_pixels);
            // Asked for at more than its size, a picture that stands upright and still comes back as it is.
            let again = make(&bytes, method, u32::MAX, u32::MAX).expect("a thumbnail is itself a picture");
            assert_eq!(again, Thumbnail::Original { format, dimensions });
        }
    }
});

fn make(file: &[u8], method: Method, width: u32, height: u32) -> Result<Thumbnail, ThumbnailError> {
    let size = Dimensions::new(width, height).expect("no side is zero");
    thumbnail(Cursor::new(file), file.len() as u64, &Request { size, method }, &LIMITS)
}
