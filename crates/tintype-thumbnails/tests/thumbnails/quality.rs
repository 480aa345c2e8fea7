//! Results look like those of the slow way: the whole picture through the good filter.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::ColorType as JpegColor;
use tintype_thumbnails::{Format, Method};

use crate::sources::{Canvas, decode, encode_jpeg, make};

fn lanczos3(canvas: &Canvas, width: u32, height: u32) -> Canvas {
    let rgba = canvas.rgba();
    let source = ImageRef::new(canvas.width, canvas.height, &rgba, PixelType::U8x4).unwrap();
    let mut result = Image::new(width, height, PixelType::U8x4);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize(&source, &mut result, &options).unwrap();
    let (pixels, _) = result.buffer().as_chunks::<4>();
    Canvas { width, height, pixels: pixels.to_vec() }
}

/// The peak signal-to-noise ratio in dB.
fn psnr(one: &Canvas, other: &Canvas) -> f64 {
    let (one, other) = (one.rgb(), other.rgb());
    let squares: u64 = one.iter().zip(&other).map(|(one, other)| u64::from(one.abs_diff(*other)).pow(2)).sum();
    let mean = f64::from(u32::try_from(squares).unwrap()) / f64::from(u32::try_from(one.len()).unwrap());
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn a_reduced_png_looks_like_one_that_was_not() {
    let canvas = Canvas::detailed(3200, 2400);

    let (_, result) = make(&canvas.png_rgb(), 320, 240, Method::Scale);

    let difference = psnr(&result, &lanczos3(&canvas, 320, 240));
    assert!(difference >= 38.0, "{difference:.1} dB");
}

#[test]
fn a_jpeg_decoded_at_a_quarter_looks_like_one_that_was_not() {
    let canvas = Canvas::detailed(3200, 2400);
    let source = canvas.jpeg();

    let (_, result) = make(&source, 320, 240, Method::Scale);

    // Through the same encoder, whose own losses are not the question.
    let reference = lanczos3(&decode(&source, Format::Jpeg), 320, 240).rgb();
    let reference = encode_jpeg(320, 240, &reference, JpegColor::Rgb, |encoder| {
        encoder.set_quality(80);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    });
    let difference = psnr(&result, &decode(&reference, Format::Jpeg));
    assert!(difference >= 38.0, "{difference:.1} dB");
}
