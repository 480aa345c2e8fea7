//! Pictures stand upright, and nothing else of EXIF gets through.

use image_webp::{ColorType, WebPEncoder};
use tintype_thumbnails::Method;

use crate::sources::{BLUE, Canvas, GREEN, Pixel, RED, WHITE, assert_close, encode_png, exif, made_bytes, make};

/// For each orientation what the quarters of red, green, blue and white become, in reading order
/// (EXIF 2.32, 4.6.4: where the stored picture's first row and first column are to be seen).
const UPRIGHT: [(u8, [Pixel; 4]); 8] = [
    (1, [RED, GREEN, BLUE, WHITE]),
    (2, [GREEN, RED, WHITE, BLUE]),
    (3, [WHITE, BLUE, GREEN, RED]),
    (4, [BLUE, WHITE, RED, GREEN]),
    (5, [RED, BLUE, GREEN, WHITE]),
    (6, [BLUE, RED, WHITE, GREEN]),
    (7, [WHITE, GREEN, BLUE, RED]),
    (8, [GREEN, WHITE, RED, BLUE]),
];

fn assert_upright(source: &[u8], orientation: u8, expected: [Pixel; 4]) {
    let (width, height) = if orientation < 5 { (16, 8) } else { (8, 16) };

    let (_, result) = make(source, width, height, Method::Scale);

    assert_eq!((result.width, result.height), (width, height), "orientation {orientation}");
    for (found, expected) in result.corners().into_iter().zip(expected) {
        assert_close(found, expected, 20);
    }
}

#[test]
fn jpegs_of_all_orientations_stand_upright() {
    for (orientation, expected) in UPRIGHT {
        let source = Canvas::quarters(64, 32).jpeg_with(|encoder| {
            encoder.add_exif_metadata(&exif(orientation)).unwrap();
        });

        assert_upright(&source, orientation, expected);
    }
}

#[test]
fn pngs_of_all_orientations_stand_upright() {
    let canvas = Canvas::quarters(64, 32);
    for (orientation, expected) in UPRIGHT {
        let source = encode_png(64, 32, png::ColorType::Rgb, &canvas.rgb(), |info| {
            info.exif_metadata = Some(exif(orientation).into());
        });

        assert_upright(&source, orientation, expected);
    }
}

#[test]
fn webps_of_all_orientations_stand_upright() {
    let canvas = Canvas::quarters(64, 32);
    for (orientation, expected) in UPRIGHT {
        let mut source = Vec::new();
        let mut encoder = WebPEncoder::new(&mut source);
        encoder.set_exif_metadata(exif(orientation));
        encoder.encode(&canvas.rgb(), 64, 32, ColorType::Rgb8).unwrap();

        assert_upright(&source, orientation, expected);
    }
}

#[test]
fn a_little_endian_block_is_read_as_well() {
    let mut block = b"II\x2a\0\x08\0\0\0\x02\0".to_vec();
    block.extend([0x0f, 0x01, 2, 0, 4, 0, 0, 0, b'a', b'b', b'c', 0]);
    block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
    let source = Canvas::quarters(64, 32).jpeg_with(|encoder| {
        encoder.add_exif_metadata(&block).unwrap();
    });

    assert_upright(&source, 3, [WHITE, BLUE, GREEN, RED]);
}

#[test]
fn broken_blocks_are_upright() {
    for block in
        [&b""[..], b"MM", b"MM\0\x2a\xff\xff\xff\xff", b"II\x2a\0\x08\0\0\0\xff\xff", b"XX\0\x2a\0\0\0\x08\0\x01"]
    {
        let source = Canvas::quarters(64, 32).jpeg_with(|encoder| {
            encoder.add_exif_metadata(block).unwrap();
        });

        assert_upright(&source, 1, [RED, GREEN, BLUE, WHITE]);
    }
}

#[test]
fn nothing_of_exif_is_copied() {
    let mut block = exif(1);
    block.extend(b"GPS 52.5163 N 13.3777 E");
    let source = Canvas::quarters(64, 32).jpeg_with(|encoder| {
        encoder.add_exif_metadata(&block).unwrap();
    });

    let result = made_bytes(&source, 16, 8, Method::Scale);

    assert!(!result.windows(4).any(|window| window == b"Exif" || window == b"GPS "));
}
