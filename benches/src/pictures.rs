//! Test pictures: 12 megapixels that compress as photographs do, made here so that nothing has to be downloaded.
//!
//! Light and shade in large areas, texture in smaller ones and a little noise of the sensor, so that a decoder meets
//! as many coefficients as in a real photograph (4 to 6 MB as a JPEG); flat or random pixels would flatter or wrong it.

use anyhow::Result;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Cell size in pixels (a power of two) and amplitude of each layer, from the sky to the gravel.
const LUMA: [(u32, u32); 8] = [(10, 80), (8, 50), (6, 36), (4, 28), (3, 24), (2, 24), (1, 18), (0, 26)];
const CHROMA: [(u32, u32); 3] = [(10, 70), (8, 30), (5, 14)];

/// A picture before it is encoded.
pub struct Pixels {
    width: u16,
    height: u16,
    rgb: Vec<u8>,
}

/// A picture file in one format.
pub struct Picture {
    /// The name of the format.
    pub format: &'static str,
    /// Its MIME type.
    pub content_type: &'static str,
    /// Its file name extension.
    pub extension: &'static str,
    bytes: Vec<u8>,
}

impl Picture {
    /// The picture as a baseline JPEG (quality 90, 4:2:0), as a telephone makes it.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn jpeg(pixels: &Pixels) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 90);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.encode(&pixels.rgb, pixels.width, pixels.height, ColorType::Rgb)?;
        Ok(Self { format: "JPEG", content_type: "image/jpeg", extension: "jpg", bytes })
    }

    /// The picture as an 8-bit RGB PNG with adaptive filters.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn png(pixels: &Pixels) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, u32::from(pixels.width), u32::from(pixels.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        encoder.set_filter(png::Filter::Adaptive);
        encoder.write_header()?.write_image_data(&pixels.rgb)?;
        Ok(Self { format: "PNG", content_type: "image/png", extension: "png", bytes })
    }

    /// The length of the file in bytes.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The same picture in a file that differs: with a comment of its own, so that no server has seen it before.
    pub fn stamped(&self, serial: u64) -> Vec<u8> {
        let comment = serial.to_be_bytes();
        // After the start-of-image marker of a JPEG; after the signature and IHDR of a PNG.
        let (at, segment) = if self.extension == "jpg" {
            (2, [&[0xff, 0xfe, 0, 10], &comment[..]].concat())
        } else {
            let chunk = [b"tEXtserial\0".as_slice(), &comment.map(|byte| b'a' + byte % 26)].concat();
            (33, [&15_u32.to_be_bytes(), &chunk[..], &crc(&chunk).to_be_bytes()].concat())
        };
        [&self.bytes[..at], &segment, &self.bytes[at..]].concat()
    }
}

impl Pixels {
    /// 12 megapixels, the same every time.
    pub fn twelve_million() -> Self {
        Self::of_size(4000, 3000)
    }

    fn of_size(width: u16, height: u16) -> Self {
        let mut rgb = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
        for y in 0..u32::from(height) {
            for x in 0..u32::from(width) {
                let luma = layers(x, y, &LUMA, 0);
                let [red, blue] = [1, 2].map(|channel| layers(x, y, &CHROMA, channel));
                // Less half the amplitudes, so that no colour prevails.
                rgb.extend([clamped(luma + red, 57), clamped(luma, 0), clamped(luma + blue, 57)]);
            }
        }
        Self { width, height, rgb }
    }
}

fn clamped(value: u32, minus: u32) -> u8 {
    u8::try_from(value.saturating_sub(minus)).unwrap_or(u8::MAX)
}

fn layers(x: u32, y: u32, layers: &[(u32, u32)], channel: u32) -> u32 {
    layers.iter().map(|(shift, amplitude)| smooth(x, y, *shift, channel) * amplitude / 256).sum()
}

/// Random values at the corners of cells of `2^shift` pixels, interpolated in between; 0 to 255.
fn smooth(x: u32, y: u32, shift: u32, channel: u32) -> u32 {
    let (column, row) = (x >> shift, y >> shift);
    let (right, down) =
        ((x & ((1 << shift) - 1)) << (8 - shift.min(8)), (y & ((1 << shift) - 1)) << (8 - shift.min(8)));
    let scale = shift.saturating_sub(8);
    let (right, down) = (right >> scale, down >> scale);
    let corner = |dx, dy| random(column + dx, row + dy, shift * 4 + channel);
    let top = corner(0, 0) * (256 - right) + corner(1, 0) * right;
    let bottom = corner(0, 1) * (256 - right) + corner(1, 1) * right;
    (top * (256 - down) + bottom * down) >> 16
}

fn random(x: u32, y: u32, salt: u32) -> u32 {
    // An integer hash (Wellons's lowbias32); any that mixes well would do.
    let mut hash = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77) ^ salt.wrapping_mul(0xc2b2_ae3d);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d);
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
    (hash ^ (hash >> 16)) & 0xff
}

/// CRC-32 as in a PNG chunk (ISO 3309), bit by bit: it is only for a dozen bytes.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A twelfth of the megapixels is enough, and quicker.
    fn a_million_pixels() -> Pixels {
        Pixels::of_size(1000, 1000)
    }

    #[test]
    fn a_stamped_png_still_decodes() {
        let picture = Picture::png(&a_million_pixels()).unwrap();

        let stamped = picture.stamped(7);
        let reader = png::Decoder::new(std::io::Cursor::new(&stamped)).read_info().unwrap();

        assert_eq!((reader.info().width, reader.info().height), (1000, 1000));
        assert_eq!(reader.info().uncompressed_latin1_text[0].keyword, "serial");
    }

    #[test]
    fn stamps_make_different_files_of_the_same_length() {
        let picture = Picture::jpeg(&a_million_pixels()).unwrap();

        let [first, second] = [1, 2].map(|serial| picture.stamped(serial));

        assert_ne!(first, second);
        assert_eq!(first.len(), second.len());
    }

    #[test]
    fn a_jpeg_is_as_large_as_a_photograph() {
        let length = Picture::jpeg(&a_million_pixels()).unwrap().length();

        assert!((4_000_000 / 12..6_000_000 / 12).contains(&length), "{length} bytes");
    }
}
