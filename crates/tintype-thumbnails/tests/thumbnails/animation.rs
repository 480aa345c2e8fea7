//! Animated sources give their first frame, and never an animation.

use png::{BitDepth, ColorType, Encoder};
use tintype_thumbnails::{Format, Method};

use crate::sources::{
    BLUE, Canvas, GREEN, RED, assert_close, extended_webp, gif, gif_frame, image_chunk, made_bytes, make,
};

fn apng(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for color in [RED, GREEN] {
        writer.write_image_data(&Canvas::plain(width, height, color).rgba()).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

fn animated_webp(width: u32, height: u32) -> Vec<u8> {
    let frame = |color| {
        let mut frame = vec![0; 6];
        frame.extend(&(width - 1).to_le_bytes()[..3]);
        frame.extend(&(height - 1).to_le_bytes()[..3]);
        frame.extend([100, 0, 0, 0]);
        frame.extend(image_chunk(&Canvas::plain(width, height, color).webp_rgba()));
        frame
    };
    let chunks = [(b"ANIM", vec![0; 6]), (b"ANMF", frame(RED)), (b"ANMF", frame(GREEN))];
    extended_webp(0x12, width, height, &chunks)
}

#[test]
fn animations_show_their_first_frame() {
    let gif = gif(64, 64, &[gif_frame((0, 0), (64, 64), 1), gif_frame((0, 0), (64, 64), 2)]);
    for source in [gif, apng(64, 64), animated_webp(64, 64)] {
        let (_, result) = make(&source, 16, 16, Method::Scale);

        assert_close(result.at(8, 8), RED, 6);
    }
}

#[test]
fn small_animations_are_encoded_anew_without_motion() {
    let gif = gif(20, 20, &[gif_frame((0, 0), (20, 20), 1), gif_frame((0, 0), (20, 20), 2)]);
    for source in [gif, apng(20, 20), animated_webp(20, 20)] {
        let (format, result) = make(&source, 96, 96, Method::Scale);

        assert_eq!((result.width, result.height), (20, 20));
        assert!(matches!(format, Format::Png | Format::Jpeg));
        let bytes = made_bytes(&source, 96, 96, Method::Scale);
        assert!(!bytes.windows(4).any(|window| window == b"acTL"));
    }
}

#[test]
fn a_frame_smaller_than_the_canvas_leaves_the_rest_transparent() {
    let source = gif(64, 64, &[gif_frame((32, 16), (32, 16), 3)]);

    let (format, result) = make(&source, 32, 32, Method::Scale);

    assert_eq!(format, Format::Png);
    assert_close(result.at(24, 12), BLUE, 2);
    assert_eq!(result.at(4, 12)[3], 0);
    assert_eq!(result.at(24, 28)[3], 0);
}

#[test]
fn the_transparent_colour_of_a_gif_stays_transparent() {
    let mut frame = gif_frame((0, 0), (64, 64), 1);
    frame.buffer.to_mut()[..32 * 64].fill(0);

    let (_, result) = make(&gif(64, 64, &[frame]), 16, 16, Method::Scale);

    assert_eq!(result.at(8, 2)[3], 0);
    assert_close(result.at(8, 13), RED, 1);
}

#[test]
fn a_frame_that_reaches_over_the_canvas_is_cut() {
    let source = gif(64, 64, &[gif_frame((60, 60), (600, 600), 1)]);

    let (_, result) = make(&source, 32, 32, Method::Scale);

    assert_eq!(result.at(8, 8)[3], 0);
    assert_close(result.at(31, 31), RED, 12);
}
