//! What size and format a request gets, and when the original is to be served.

use png::ColorType;
use tintype_thumbnails::{Dimensions, Format, Method, Thumbnail, ThumbnailError};

use crate::sources::{Canvas, encode_png, exif, gif, gif_frame, make, try_make};

#[test]
fn sizes_are_what_the_specification_asks_for() {
    use Method::{Crop, Scale};
    for (source, wanted, method, expected) in [
        ((400, 300), (32, 32), Crop, (32, 32)),
        ((400, 300), (96, 96), Crop, (96, 96)),
        ((400, 300), (320, 240), Scale, (320, 240)),
        ((400, 300), (32, 32), Scale, (43, 32)),
        ((300, 400), (32, 24), Scale, (32, 43)),
        ((401, 299), (32, 32), Scale, (43, 32)),
        ((400, 30), (96, 96), Crop, (30, 30)),
        ((30, 400), (96, 48), Crop, (30, 15)),
        ((1, 700), (1, 7), Crop, (1, 7)),
        ((700, 1), (7, 1), Crop, (7, 1)),
    ] {
        let canvas = Canvas::quarters(source.0, source.1);
        for bytes in [canvas.jpeg(), canvas.png_rgb(), canvas.webp_rgb()] {
            let (format, result) = make(&bytes, wanted.0, wanted.1, method);

            let found = (result.width, result.height);
            assert_eq!(found, expected, "{format:?} {source:?} as {wanted:?} {method:?}");
        }
    }
}

#[test]
fn sources_that_are_not_larger_are_served_as_they_are() {
    let canvas = Canvas::quarters(60, 40);
    let sources = [
        (Format::Jpeg, canvas.jpeg()),
        (Format::Png, canvas.png_rgba()),
        (Format::Webp, canvas.webp_rgb()),
        (Format::Gif, gif(60, 40, &[gif_frame((0, 0), (60, 40), 1)])),
    ];
    for (format, source) in sources {
        for (width, height, method) in [
            (60, 40, Method::Scale),
            (320, 240, Method::Scale),
            (30, 240, Method::Scale),
            (60, 40, Method::Crop),
            (96, 96, Method::Crop),
        ] {
            let result = try_make(&source, width, height, method).unwrap();

            let dimensions = Dimensions::new(60, 40).unwrap();
            assert_eq!(result, Thumbnail::Original { format, dimensions });
        }
    }
}

#[test]
fn a_small_source_of_another_aspect_is_cropped_without_resizing() {
    let canvas = Canvas::draw(60, 20, |x, _| [u8::try_from(x).unwrap() * 4, 0, 0, 255]);

    let (_, result) = make(&canvas.png_rgb(), 40, 40, Method::Crop);

    assert_eq!((result.width, result.height), (20, 20));
    assert_eq!(result.at(0, 0)[0], 80);
    assert_eq!(result.at(19, 19)[0], 156);
}

#[test]
fn a_small_source_that_lies_on_its_side_is_encoded_anew() {
    let source = Canvas::quarters(60, 40).jpeg_with(|encoder| {
        encoder.add_exif_metadata(&exif(6)).unwrap();
    });

    let (format, result) = make(&source, 320, 240, Method::Scale);

    assert_eq!(format, Format::Jpeg);
    assert_eq!((result.width, result.height), (40, 60));
}

#[test]
fn crops_show_the_middle() {
    let source = Canvas::draw(300, 100, |x, _| match x / 100 {
        0 => [255, 0, 0, 255],
        1 => [0, 255, 0, 255],
        _ => [0, 0, 255, 255],
    });
    for bytes in [source.png_rgb(), source.jpeg()] {
        let (_, result) = make(&bytes, 20, 20, Method::Crop);

        let green = result.pixels.iter().filter(|pixel| pixel[1] > 230 && pixel[0] < 30);
        assert!(green.count() >= 18 * 20);
    }
}

#[test]
fn formats_follow_the_source_and_its_alpha() {
    let canvas = Canvas::quarters(64, 64);
    let mut clear = canvas.clone();
    clear.pixels[0][3] = 0;
    clear.pixels[1..2000].fill([0, 0, 0, 0]);
    for (source, expected) in [
        (canvas.jpeg(), Format::Jpeg),
        (canvas.png_rgb(), Format::Png),
        (canvas.png_rgba(), Format::Png),
        (clear.png_rgba(), Format::Png),
        (canvas.webp_rgb(), Format::Jpeg),
        (clear.webp_rgba(), Format::Png),
        (gif(64, 64, &[gif_frame((0, 0), (64, 64), 1)]), Format::Png),
    ] {
        assert_eq!(make(&source, 16, 16, Method::Scale).0, expected);
    }
}

#[test]
fn gray_sources_stay_gray() {
    let canvas = Canvas::draw(64, 64, |x, _| {
        let gray = u8::try_from(x * 3).unwrap();
        [gray, gray, gray, 255]
    });
    let png = encode_png(64, 64, ColorType::Grayscale, &canvas.gray(), |_| {});

    let result = crate::sources::made_bytes(&png, 16, 16, Method::Scale);

    let reader = png::Decoder::new(std::io::Cursor::new(&result)).read_info().unwrap();
    assert_eq!(reader.info().color_type, ColorType::Grayscale);
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let canvas = Canvas::detailed(500, 400);
    for source in [canvas.jpeg(), canvas.png_rgb(), canvas.png_rgba(), canvas.webp_rgb()] {
        let first = try_make(&source, 96, 96, Method::Crop).unwrap();
        let second = try_make(&source, 96, 96, Method::Crop).unwrap();

        assert_eq!(first, second);
    }
}

#[test]
fn what_is_not_a_picture_is_unsupported() {
    for source in [&b""[..], b"\xff\xd8", b"%PDF-1.7 and so on", b"<svg></svg>", b"BM\0\0\0\0\0\0"] {
        let result = try_make(source, 32, 32, Method::Crop);

        assert!(matches!(result, Err(ThumbnailError::Unsupported { .. })), "{result:?}");
    }
}
