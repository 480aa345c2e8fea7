//! Colours and alpha of results.

use jpeg_encoder::ColorType as JpegColor;
use moxcms::ColorProfile;
use png::{BitDepth, ColorType};
use tintype_thumbnails::{Format, Method};

use crate::sources::{
    CLEAR, Canvas, Pixel, RED, assert_close, encode_jpeg, encode_png, extended_webp, image_chunk, make,
};

fn jpeg_with_profile(pixel: Pixel, profile: &[u8]) -> Vec<u8> {
    Canvas::plain(64, 64, pixel).jpeg_with(|encoder| {
        encoder.add_icc_profile(profile).unwrap();
    })
}

fn only_color(source: &[u8]) -> Pixel {
    make(source, 16, 16, Method::Scale).1.at(8, 8)
}

#[test]
fn display_p3_becomes_more_saturated_srgb() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();

    let found = only_color(&jpeg_with_profile([200, 80, 80, 255], &profile));

    assert_close(found, [216, 69, 75, 255], 4);
}

#[test]
fn a_long_profile_in_several_segments_is_put_together() {
    let mut profile = ColorProfile::new_display_p3().encode().unwrap();
    profile.resize(150_000, 0);

    let found = only_color(&jpeg_with_profile([200, 80, 80, 255], &profile));

    assert_close(found, [216, 69, 75, 255], 4);
}

#[test]
fn adobe_rgb_in_a_png_becomes_srgb_and_keeps_its_alpha() {
    let profile = ColorProfile::new_adobe_rgb().encode().unwrap();
    let canvas = Canvas::plain(64, 64, [120, 200, 120, 100]);
    let source = encode_png(64, 64, ColorType::Rgba, &canvas.rgba(), |info| {
        info.icc_profile = Some(profile.into());
    });

    let found = only_color(&source);

    assert_close(found, [51, 201, 116, 100], 2);
}

#[test]
fn display_p3_in_a_webp_becomes_srgb() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let plain = Canvas::plain(64, 64, [200, 80, 80, 255]).webp_rgb();
    let image = image_chunk(&plain)[8..].to_vec();
    let source = extended_webp(0x20, 64, 64, &[(b"ICCP", profile), (b"VP8L", image)]);

    assert_close(only_color(&source), [216, 69, 75, 255], 4);
}

#[test]
fn srgb_stays_as_it_is() {
    let profile = ColorProfile::new_srgb().encode().unwrap();

    let found = only_color(&jpeg_with_profile([200, 80, 30, 255], &profile));

    assert_close(found, [200, 80, 30, 255], 4);
}

#[test]
fn gray_profiles_are_honoured() {
    let profile = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let gray = encode_png(64, 64, ColorType::Grayscale, &[128; 64 * 64], |info| {
        info.icc_profile = Some(profile.clone().into());
    });
    let gray_alpha = encode_png(64, 64, ColorType::GrayscaleAlpha, &[128, 50].repeat(64 * 64), |info| {
        info.icc_profile = Some(profile.into());
    });

    assert_close(only_color(&gray), [188, 188, 188, 255], 2);
    assert_close(only_color(&gray_alpha), [188, 188, 188, 50], 2);
}

#[test]
fn a_broken_or_unfitting_profile_is_ignored() {
    let good = ColorProfile::new_display_p3().encode().unwrap();
    let gray = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    for profile in [&b"not a profile"[..], &good[..good.len() / 2], &gray] {
        let found = only_color(&jpeg_with_profile([200, 80, 80, 255], profile));

        assert_close(found, [200, 80, 80, 255], 4);
    }
}

#[test]
fn ink_becomes_light() {
    for (ink, expected) in [
        ([255, 0, 0, 0], [0, 255, 255, 255]),
        ([0, 255, 0, 0], [255, 0, 255, 255]),
        ([0, 0, 255, 0], [255, 255, 0, 255]),
        ([0, 0, 0, 255], [0, 0, 0, 255]),
        ([0, 0, 0, 0], [255, 255, 255, 255]),
        ([0, 0, 0, 128], [127, 127, 127, 255]),
    ] {
        for coding in [JpegColor::Cmyk, JpegColor::CmykAsYcck] {
            let source = encode_jpeg(64, 64, &ink.repeat(64 * 64), coding, |_| {});

            let (format, result) = make(&source, 16, 16, Method::Scale);

            assert_eq!(format, Format::Jpeg);
            assert_close(result.at(8, 8), expected, 5);
        }
    }
}

#[test]
fn corners_stay_transparent_and_edges_keep_their_colour() {
    let (centre, radius) = (160_i32, 120_i32);
    let canvas = Canvas::draw(320, 320, |x, y| {
        let (dx, dy) = (x.cast_signed() - centre, y.cast_signed() - centre);
        if dx * dx + dy * dy < radius * radius { RED } else { CLEAR }
    });
    for source in [canvas.png_rgba(), canvas.webp_rgba()] {
        for size in [20, 32, 100] {
            let (format, result) = make(&source, size, size, Method::Crop);

            assert_eq!(format, Format::Png);
            assert_eq!(result.at(0, 0)[3], 0);
            assert_eq!(result.at(size - 1, size - 1)[3], 0);
            assert_close(result.at(size / 2, size / 2), RED, 1);
            for pixel in result.pixels.iter().filter(|pixel| pixel[3] > 40) {
                // The filter overshoots a little at edges; black from outside would take much away.
                assert_close([pixel[0], pixel[1], pixel[2], 255], RED, 24);
            }
        }
    }
}

#[test]
fn palettes_and_transparent_colours_of_pngs_are_expanded() {
    let indices: Vec<u8> = (0..64 * 64).map(|pixel| u8::from(pixel % 64 >= 32)).collect();
    let source = encode_png(64, 64, ColorType::Indexed, &indices, |info| {
        info.palette = Some([220, 20, 20, 20, 20, 220].as_slice().into());
        info.trns = Some([255, 0].as_slice().into());
    });

    let (_, result) = make(&source, 16, 16, Method::Scale);

    assert_close(result.at(2, 8), RED, 1);
    assert_eq!(result.at(13, 8)[3], 0);
}

#[test]
fn sixteen_bits_become_eight() {
    let samples: Vec<u8> = [0xc8, 0x7f, 0x50, 0x00, 0x1e, 0xff].repeat(64 * 64);
    let source = encode_png(64, 64, ColorType::Rgb, &samples, |info| {
        info.bit_depth = BitDepth::Sixteen;
    });

    assert_close(only_color(&source), [200, 80, 30, 255], 1);
}

#[test]
fn an_opaque_alpha_channel_is_dropped() {
    let source = Canvas::plain(64, 64, RED).png_rgba();

    let result = crate::sources::made_bytes(&source, 16, 16, Method::Scale);

    let reader = png::Decoder::new(std::io::Cursor::new(&result)).read_info().unwrap();
    assert_eq!(reader.info().color_type, ColorType::Rgb);
}
