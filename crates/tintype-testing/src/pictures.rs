//! Pictures to upload, and a look at what came back.

use std::io::Cursor;

use jpeg_encoder::{ColorType as JpegColor, Encoder as JpegEncoder};
use png::{BitDepth, ColorType as PngColor, Encoder as PngEncoder};

/// A JPEG with a gradient.
pub fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new(&mut jpeg, 90);
    encoder
        .encode(&gradient(width.into(), height.into()), width, height, JpegColor::Rgb)
        .expect("the pixels fit the size");
    jpeg
}

/// An opaque PNG with a gradient.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png, width, height);
    encoder.set_color(PngColor::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().expect("the header can be written");
    writer.write_image_data(&gradient(width, height)).expect("the pixels fit the size");
    writer.finish().expect("the picture can be ended");
    png
}

/// What kind of picture this is, by its type's second half, and its width and height.
///
/// # Panics
/// If it is not a whole JPEG or PNG.
pub fn look(picture: &[u8]) -> (&'static str, u32, u32) {
    if picture.starts_with(b"\x89PNG") {
        let mut reader = png::Decoder::new(Cursor::new(picture)).read_info().expect("the PNG has a header");
        let mut pixels = vec![0; reader.output_buffer_size().expect("the picture is small")];
        let frame = reader.next_frame(&mut pixels).expect("the PNG is whole");
        return ("png", frame.width, frame.height);
    }
    let mut decoder = jpeg_decoder::Decoder::new(picture);
    decoder.decode().expect("the picture is a PNG or a JPEG");
    let size = decoder.info().expect("a decoded picture has a size");
    ("jpeg", size.width.into(), size.height.into())
}

fn gradient(width: u32, height: u32) -> Vec<u8> {
    let shade = |at: u32, of: u32| u8::try_from(at * 255 / of).expect("a shade is at most 255");
    let row = |y| (0..width).flat_map(move |x| [shade(x, width), shade(y, height), 90]);
    (0..height).flat_map(row).collect()
}
