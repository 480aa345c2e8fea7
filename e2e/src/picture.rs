//! A photograph to upload, and what a thumbnail of it must be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jpeg_decoder::Decoder;
use jpeg_encoder::{ColorType, Encoder};

/// A name that fits into no 7 bits: Cyrillic, a symbol, an accent and a space.
pub const NAME: &str = "фото ☀ été.jpg";

/// Writes a JPEG of 800 by 600 pixels named [`NAME`] into `folder`.
pub fn write_photograph(folder: &Path) -> PathBuf {
    let path = folder.join(NAME);
    fs::write(&path, photograph()).expect("a file can be written");
    path
}

/// The bytes of a JPEG of 800 by 600 pixels.
pub fn photograph() -> Vec<u8> {
    let (width, height) = (800_u16, 600_u16);
    let pixels: Vec<u8> =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [shade(x), shade(y), shade(x ^ y)])).collect();
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 85).encode(&pixels, width, height, ColorType::Rgb).expect("the pixels fit the size");
    jpeg
}

/// The width and height of a JPEG; fails on anything that is not a whole JPEG.
pub fn size_of_jpeg(bytes: &[u8]) -> (u16, u16) {
    let mut decoder = Decoder::new(bytes);
    decoder.decode().expect("the picture is a JPEG");
    let size = decoder.info().expect("a decoded picture has a size");
    (size.width, size.height)
}

fn shade(value: u16) -> u8 {
    u8::try_from(value % 256).expect("a remainder of 256 fits")
}
