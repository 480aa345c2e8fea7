//! Pictures that were made to hurt: refused by their headers, or worked on within the limits.

use std::io::Cursor;
use std::slice;

use jpeg_encoder::ColorType as JpegColor;
use png::ColorType;
use proptest::prelude::*;
use tintype_thumbnails::{Dimensions, Limits, Method, Request, Thumbnail, ThumbnailError, thumbnail};

use crate::sources::{Canvas, encode_jpeg, encode_png, extended_webp, gif, gif_frame, make, try_make};

/// The start of a JPEG up to its frame header: three components, not subsampled.
fn jpeg_header(frame: u8, width: u16, height: u16) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, frame, 0, 17, 8];
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    bytes.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    bytes
}

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encode_png(1, 1, ColorType::Rgb, &[0; 3], |_| {});
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

fn gif_header(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = gif(1, 1, &[gif_frame((0, 0), (1, 1), 1)]);
    bytes[6..8].copy_from_slice(&width.to_le_bytes());
    bytes[8..10].copy_from_slice(&height.to_le_bytes());
    bytes
}

/// A lossy frame's first bytes.
fn lossy_frame(width: u16, height: u16) -> Vec<u8> {
    let mut frame = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a];
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    frame.extend([0; 64]);
    frame
}

#[test]
fn pixel_bombs_are_refused_by_their_headers() {
    for source in [
        jpeg_header(0xc0, 60_000, 60_000),
        png_header(60_000, 60_000),
        png_header(0x7fff_ffff, 0x7fff_ffff),
        gif_header(60_000, 60_000),
        extended_webp(0, 60_000, 60_000, &[(b"VP8 ", lossy_frame(16_000, 16_000))]),
    ] {
        let result = try_make(&source, 320, 240, Method::Scale);

        assert!(matches!(result, Err(ThumbnailError::TooManyPixels { .. })), "{result:?}");
    }
}

#[test]
fn what_would_take_too_much_memory_is_refused_by_its_header() {
    let huge_frame = gif(10, 10, &[gif_frame((0, 0), (1, 1), 1)]);
    let at = huge_frame.windows(9).position(|bytes| bytes == [0x2c, 0, 0, 0, 0, 1, 0, 1, 0]).unwrap();
    let mut huge_frame = huge_frame;
    huge_frame[at + 5..at + 9].fill(0xff);
    for source in [jpeg_header(0xc2, 8000, 8000), huge_frame] {
        let result = try_make(&source, 5, 5, Method::Scale);

        assert!(matches!(result, Err(ThumbnailError::TooMuchMemory { .. })), "{result:?}");
    }
}

#[test]
fn a_huge_frame_on_a_small_canvas_is_refused() {
    let mut frame = vec![0; 6];
    frame.extend([99, 0, 0, 99, 0, 0, 1, 0, 0, 0]);
    frame.extend(crate::sources::riff_chunk(*b"VP8 ", &lossy_frame(16_000, 16_000)));
    for source in [
        extended_webp(0, 100, 100, &[(b"VP8 ", lossy_frame(16_000, 16_000))]),
        extended_webp(2, 100, 100, &[(b"ANIM", vec![0; 6]), (b"ANMF", frame)]),
    ] {
        let result = try_make(&source, 32, 32, Method::Scale);

        let Err(ThumbnailError::Malformed { reason }) = result else {
            panic!("{result:?}");
        };
        assert!(reason.contains("larger than the canvas"), "{reason}");
    }
}

#[test]
fn sides_of_zero_are_malformed() {
    for source in [
        jpeg_header(0xc0, 0, 10),
        jpeg_header(0xc0, 10, 0),
        png_header(0, 10),
        png_header(10, 0),
        gif_header(0, 10),
        gif_header(10, 0),
    ] {
        let result = try_make(&source, 32, 32, Method::Crop);

        assert!(matches!(result, Err(ThumbnailError::Malformed { .. })), "{result:?}");
    }
}

#[test]
fn a_source_that_is_too_long_is_not_even_read() {
    let request = Request { size: Dimensions::new(32, 32).unwrap(), method: Method::Crop };
    let length = 101 * 1024 * 1024;

    let result = thumbnail(Cursor::new([]), length, &request, &Limits::default());

    assert!(matches!(result, Err(ThumbnailError::TooManyBytes { bytes, .. }) if bytes == length));
}

#[test]
fn kinds_of_jpeg_that_no_browser_shows_are_unsupported() {
    for frame in [0xc3, 0xc5, 0xc9, 0xca, 0xcb] {
        let result = try_make(&jpeg_header(frame, 100, 100), 320, 240, Method::Scale);

        assert!(matches!(result, Err(ThumbnailError::Unsupported { .. })), "{result:?}");
    }
}

#[test]
fn a_jpeg_that_breaks_off_shows_what_is_there() {
    let source = Canvas::quarters(256, 256).jpeg();

    let (_, result) = make(&source[..source.len() * 3 / 4], 64, 64, Method::Scale);

    crate::sources::assert_close(result.at(10, 10), crate::sources::RED, 12);
}

#[test]
fn other_pictures_that_break_off_are_malformed() {
    let canvas = Canvas::detailed(256, 256);
    let gif = gif(256, 256, &[gif_frame((0, 0), (256, 256), 1)]);
    for source in [canvas.png_rgb(), canvas.webp_rgb(), gif] {
        for length in [source.len() / 2, 20] {
            let result = try_make(&source[..length], 64, 64, Method::Scale);

            assert!(matches!(result, Err(ThumbnailError::Malformed { .. })), "{result:?}");
        }
    }
}

#[test]
fn only_the_first_of_very_many_frames_is_decoded() {
    let frame = gif_frame((0, 0), (64, 64), 1);
    let one = gif(64, 64, slice::from_ref(&frame));
    let two = gif(64, 64, &[frame.clone(), frame]);
    let (trailer, start) = one.split_last().unwrap();
    let second = &two[start.len()..two.len() - 1];
    let many = [start, &second.repeat(100_000), &[*trailer]].concat();

    let (_, result) = make(&many, 16, 16, Method::Scale);

    crate::sources::assert_close(result.at(8, 8), crate::sources::RED, 1);
}

#[test]
fn very_many_scans_are_refused() {
    let source = encode_jpeg(64, 64, &[100; 64 * 64], JpegColor::Luma, |encoder| {
        encoder.set_progressive(true);
    });
    let scan = source.windows(2).rposition(|bytes| bytes == [0xff, 0xda]).unwrap();
    let mut many = source[..scan].to_vec();
    (0..1000).for_each(|_| many.extend(&source[scan..source.len() - 2]));

    let result = try_make(&many, 16, 16, Method::Scale);

    let Err(ThumbnailError::Malformed { reason }) = result else {
        panic!("{result:?}");
    };
    assert!(reason.contains("too many scans"), "{reason}");
}

#[test]
fn a_profile_that_inflates_without_end_is_ignored() {
    let source = encode_png(64, 64, ColorType::Rgb, &[200; 64 * 64 * 3], |info| {
        info.icc_profile = Some(vec![0; 64 * 1024 * 1024].into());
    });

    let (_, result) = make(&source, 16, 16, Method::Scale);

    crate::sources::assert_close(result.at(8, 8), [200, 200, 200, 255], 1);
}

#[test]
fn text_that_inflates_without_end_is_ignored() {
    let mut source = Vec::new();
    let mut encoder = png::Encoder::new(&mut source, 64, 64);
    encoder.set_color(ColorType::Rgb);
    encoder.add_ztxt_chunk("Comment".into(), "a".repeat(64 * 1024 * 1024)).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[200; 64 * 64 * 3]).unwrap();
    writer.finish().unwrap();

    let (_, result) = make(&source, 16, 16, Method::Scale);

    crate::sources::assert_close(result.at(8, 8), [200, 200, 200, 255], 1);
}

/// Small limits, so that a flipped bit in a size does not make the test slow.
fn try_small(source: &[u8]) -> Result<Thumbnail, ThumbnailError> {
    let request = Request { size: Dimensions::new(20, 12).unwrap(), method: Method::Crop };
    let limits = Limits { max_pixels: 200_000, max_memory: 32 * 1024 * 1024, ..Limits::default() };
    thumbnail(Cursor::new(source), source.len() as u64, &request, &limits)
}

fn assert_answered(result: &Result<Thumbnail, ThumbnailError>) -> Result<(), TestCaseError> {
    match result {
        Ok(Thumbnail::Encoded { dimensions, .. } | Thumbnail::Original { dimensions, .. }) => {
            prop_assert!(dimensions.pixels() <= 200_000);
        }
        Err(ThumbnailError::Io(error)) => prop_assert!(false, "blamed on the disk: {error}"),
        Err(ThumbnailError::Malformed { reason }) => {
            prop_assert!(reason != "the decoder gave up", "a decoder panicked");
        }
        Err(_) => {}
    }
    Ok(())
}

fn samples() -> Vec<Vec<u8>> {
    let canvas = Canvas::detailed(61, 47);
    let mut clear = canvas.clone();
    clear.pixels[..500].fill([0; 4]);
    vec![
        canvas.jpeg(),
        canvas.jpeg_with(|encoder| encoder.set_progressive(true)),
        canvas.jpeg_with(|encoder| encoder.set_restart_interval(3)),
        canvas.png_rgb(),
        clear.png_rgba(),
        canvas.webp_rgb(),
        clear.webp_rgba(),
        gif(61, 47, &[gif_frame((3, 3), (40, 40), 1), gif_frame((0, 0), (61, 47), 2)]),
        extended_webp(0, 61, 47, &[(b"VP8 ", lossy_frame(61, 47))]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_after_a_magic_number_get_an_answer(
        magic in prop::sample::select(vec![
            &b"\xff\xd8\xff"[..],
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"GIF89a",
            b"RIFF\xff\0\0\0WEBPVP8 ",
            b"RIFF\xff\0\0\0WEBPVP8L\xf0\0\0\0\x2f",
            b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        assert_answered(&try_small(&[magic, &rest].concat()))?;
    }

    #[test]
    fn damaged_pictures_get_an_answer(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        kept in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let samples = samples();
        let mut source = which.get(&samples).clone();
        for (place, byte) in damage {
            *place.get_mut(&mut source) = byte;
        }
        if cut {
            source.truncate(kept.index(source.len()));
        }
        assert_answered(&try_small(&source))?;
    }
}
