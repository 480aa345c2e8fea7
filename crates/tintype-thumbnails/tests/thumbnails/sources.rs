//! Makes source pictures of every kind, and looks at results.

use std::io::Cursor;

use jpeg_encoder::{ColorType as JpegColor, Encoder as JpegEncoder, SamplingFactor};
use png::{BitDepth, ColorType as PngColor, Encoder as PngEncoder, Info};
use tintype_thumbnails::{Dimensions, Format, Limits, Method, Request, Thumbnail, ThumbnailError, thumbnail};

pub const RED: [u8; 4] = [220, 20, 20, 255];
pub const GREEN: [u8; 4] = [20, 200, 20, 255];
pub const BLUE: [u8; 4] = [20, 20, 220, 255];
pub const WHITE: [u8; 4] = [250, 250, 250, 255];
pub const CLEAR: [u8; 4] = [0, 0, 0, 0];

pub type Pixel = [u8; 4];

/// An RGBA picture to be encoded, or that was decoded.
#[derive(Clone, Debug)]
pub struct Canvas {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<Pixel>,
}

impl Canvas {
    pub fn draw(width: u32, height: u32, pixel: impl Fn(u32, u32) -> Pixel) -> Self {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect();
        Self { width, height, pixels }
    }

    pub fn plain(width: u32, height: u32, pixel: Pixel) -> Self {
        Self::draw(width, height, |_, _| pixel)
    }

    /// Top left red, top right green, bottom left blue, bottom right white.
    pub fn quarters(width: u32, height: u32) -> Self {
        Self::draw(width, height, |x, y| match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    }

    /// Edges and fine patterns of all directions and frequencies, the same on every run.
    pub fn detailed(width: u32, height: u32) -> Self {
        Self::draw(width, height, |x, y| {
            let (fx, fy) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let rings = ((fx * fx + fy * fy) * 400.0).sin();
            let stripes = (fx * 90.0 + fy * 35.0).sin() * (fy * 60.0).cos();
            let noise = f64::from((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)).wrapping_mul(2_654_435_761) >> 24);
            let square = if (x / 97 + y / 61) % 2 == 0 { 30.0 } else { -30.0 };
            let sample = |shift: f64| {
                let waves = 40.0 * rings + 35.0 * (stripes + shift).sin();
                byte(128.0 + waves + square + noise / 16.0 - 8.0)
            };
            [sample(0.0), sample(0.7), sample(1.9), 255]
        })
    }

    pub fn at(&self, x: u32, y: u32) -> Pixel {
        self.pixels[(y * self.width + x) as usize]
    }

    /// The middles of the four quarters, in reading order.
    pub fn corners(&self) -> [Pixel; 4] {
        let (left, top) = (self.width / 4, self.height / 4);
        let (right, bottom) = (self.width - 1 - left, self.height - 1 - top);
        [self.at(left, top), self.at(right, top), self.at(left, bottom), self.at(right, bottom)]
    }

    pub fn rgb(&self) -> Vec<u8> {
        self.pixels.iter().flat_map(|pixel| &pixel[..3]).copied().collect()
    }

    pub fn rgba(&self) -> Vec<u8> {
        self.pixels.as_flattened().to_vec()
    }

    pub fn gray(&self) -> Vec<u8> {
        self.pixels.iter().map(|pixel| pixel[0]).collect()
    }

    pub fn jpeg(&self) -> Vec<u8> {
        self.jpeg_with(|_| {})
    }

    pub fn jpeg_with(&self, options: impl FnOnce(&mut JpegEncoder<&mut Vec<u8>>)) -> Vec<u8> {
        encode_jpeg(self.width, self.height, &self.rgb(), JpegColor::Rgb, options)
    }

    pub fn png_rgb(&self) -> Vec<u8> {
        encode_png(self.width, self.height, PngColor::Rgb, &self.rgb(), |_| {})
    }

    pub fn png_rgba(&self) -> Vec<u8> {
        encode_png(self.width, self.height, PngColor::Rgba, &self.rgba(), |_| {})
    }

    pub fn webp_rgb(&self) -> Vec<u8> {
        encode_webp(self.width, self.height, &self.rgb(), image_webp::ColorType::Rgb8)
    }

    pub fn webp_rgba(&self) -> Vec<u8> {
        encode_webp(self.width, self.height, &self.rgba(), image_webp::ColorType::Rgba8)
    }
}

pub fn encode_jpeg(
    width: u32,
    height: u32,
    samples: &[u8],
    color: JpegColor,
    options: impl FnOnce(&mut JpegEncoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new(&mut bytes, 98);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    options(&mut encoder);
    let (width, height) = (width.try_into().unwrap(), height.try_into().unwrap());
    encoder.encode(samples, width, height, color).unwrap();
    bytes
}

pub fn encode_png(
    width: u32,
    height: u32,
    color: PngColor,
    samples: &[u8],
    options: impl FnOnce(&mut Info<'static>),
) -> Vec<u8> {
    let mut info = Info::with_size(width, height);
    info.color_type = color;
    info.bit_depth = BitDepth::Eight;
    options(&mut info);
    let mut bytes = Vec::new();
    let mut writer = PngEncoder::with_info(&mut bytes, info).unwrap().write_header().unwrap();
    writer.write_image_data(samples).unwrap();
    writer.finish().unwrap();
    bytes
}

fn encode_webp(width: u32, height: u32, samples: &[u8], color: image_webp::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    image_webp::WebPEncoder::new(&mut bytes).encode(samples, width, height, color).unwrap();
    bytes
}

/// A GIF of frames, each with its place on the canvas; index 0 is transparent, 1 red, 2 green, 3 blue.
pub fn gif(width: u16, height: u16, frames: &[gif::Frame<'static>]) -> Vec<u8> {
    let palette = [0, 0, 0, 220, 20, 20, 20, 200, 20, 20, 20, 220];
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &palette).unwrap();
    for frame in frames {
        encoder.write_frame(frame).unwrap();
    }
    drop(encoder);
    bytes
}

pub fn gif_frame(place: (u16, u16), size: (u16, u16), index: u8) -> gif::Frame<'static> {
    gif::Frame {
        left: place.0,
        top: place.1,
        width: size.0,
        height: size.1,
        transparent: Some(0),
        buffer: vec![index; usize::from(size.0) * usize::from(size.1)].into(),
        ..gif::Frame::default()
    }
}

/// An EXIF block that says nothing but which way up the picture is.
pub fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    tiff.extend([0; 4]);
    tiff
}

/// A WebP of extended format from chunks, canvas included.
pub fn extended_webp(flags: u8, width: u32, height: u32, chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut header = vec![flags, 0, 0, 0];
    header.extend(&(width - 1).to_le_bytes()[..3]);
    header.extend(&(height - 1).to_le_bytes()[..3]);
    let mut body = b"WEBP".to_vec();
    body.extend(riff_chunk(*b"VP8X", &header));
    for (name, payload) in chunks {
        body.extend(riff_chunk(**name, payload));
    }
    riff_chunk(*b"RIFF", &body)
}

pub fn riff_chunk(name: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    chunk.extend(payload);
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

/// The image chunk of a simple WebP, with its header.
pub fn image_chunk(webp: &[u8]) -> &[u8] {
    &webp[12..]
}

pub fn try_make(source: &[u8], width: u32, height: u32, method: Method) -> Result<Thumbnail, ThumbnailError> {
    let request = Request { size: Dimensions::new(width, height).unwrap(), method };
    thumbnail(Cursor::new(source), source.len() as u64, &request, &Limits::default())
}

/// The format and pixels of a thumbnail that had to be made.
pub fn make(source: &[u8], width: u32, height: u32, method: Method) -> (Format, Canvas) {
    match try_make(source, width, height, method).unwrap() {
        Thumbnail::Encoded { bytes, format, dimensions } => {
            assert_eq!(Format::detect(&bytes), Some(format));
            let canvas = decode(&bytes, format);
            assert_eq!((canvas.width, canvas.height), (dimensions.width(), dimensions.height()));
            (format, canvas)
        }
        Thumbnail::Original { .. } => panic!("the original was to be served"),
    }
}

/// The bytes of a thumbnail that had to be made.
pub fn made_bytes(source: &[u8], width: u32, height: u32, method: Method) -> Vec<u8> {
    match try_make(source, width, height, method).unwrap() {
        Thumbnail::Encoded { bytes, .. } => bytes,
        Thumbnail::Original { .. } => panic!("the original was to be served"),
    }
}

pub fn decode(bytes: &[u8], format: Format) -> Canvas {
    let (width, height, channels, samples) = match format {
        Format::Jpeg => {
            let mut decoder = jpeg_decoder::Decoder::new(bytes);
            let samples = decoder.decode().unwrap();
            let info = decoder.info().unwrap();
            let channels = info.pixel_format.pixel_bytes();
            (info.width.into(), info.height.into(), channels, samples)
        }
        Format::Png => {
            let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
            let mut samples = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut samples).unwrap();
            assert_eq!(info.bit_depth, BitDepth::Eight);
            (info.width, info.height, info.color_type.samples(), samples)
        }
        Format::Apng | Format::Gif | Format::Webp => panic!("thumbnails are PNG or JPEG"),
    };
    let pixels = samples
        .chunks(channels)
        .map(|pixel| match *pixel {
            [gray] => [gray, gray, gray, 255],
            [gray, alpha] => [gray, gray, gray, alpha],
            [red, green, blue] => [red, green, blue, 255],
            [red, green, blue, alpha] => [red, green, blue, alpha],
            _ => panic!("{channels} channels"),
        })
        .collect();
    Canvas { width, height, pixels }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cut at the bounds, which is what is wanted"
)]
fn byte(value: f64) -> u8 {
    value as u8
}

/// Fails unless every sample is within `tolerance`.
#[track_caller]
pub fn assert_close(found: Pixel, expected: Pixel, tolerance: u8) {
    let close = found.iter().zip(expected).all(|(one, other)| one.abs_diff(other) <= tolerance);
    assert!(close, "found {found:?}, expected {expected:?}");
}
