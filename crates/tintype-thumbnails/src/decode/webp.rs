//! WebP: decoded whole, since its decoder knows no other way; of an animation the first frame.
//!
//! The decoder believes the size in a frame's own header, so the frames are found and compared with the
//! canvas here first: a small canvas with a huge frame in it must not cost the huge frame.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use image_webp::{DecodingError, WebPDecoder};

use super::{Decoded, Header, Motion, Picture};
use crate::bitmap::{Bitmap, Layout};
use crate::color::MAX_PROFILE_BYTES;
use crate::orientation::Orientation;
use crate::plan::Plan;
use crate::{Dimensions, Format, ThumbnailError};

/// EXIF longer than this is not looked at, and profiles neither.
const MAX_METADATA_BYTES: usize = MAX_PROFILE_BYTES;

pub(crate) struct Webp<R: BufRead + Seek> {
    decoder: WebPDecoder<R>,
    header: Header,
}

impl<R: BufRead + Seek> Webp<R> {
    pub fn open(mut source: R) -> Result<Self, ThumbnailError> {
        let largest_frame = largest_frame(&mut source)?;
        source.seek(SeekFrom::Start(0))?;
        let mut decoder = WebPDecoder::new(source)?;
        decoder.set_memory_limit(MAX_METADATA_BYTES);
        let (width, height) = decoder.dimensions();
        let dimensions = Dimensions::new(width, height).ok_or_else(|| ThumbnailError::malformed("a side is zero"))?;
        if largest_frame.0 > width || largest_frame.1 > height {
            return Err(ThumbnailError::malformed("a frame is larger than the canvas"));
        }
        let orientation = match decoder.exif_metadata() {
            Ok(Some(exif)) => Orientation::from_exif(&exif),
            Ok(None) | Err(_) => Orientation::UPRIGHT,
        };
        let motion = if decoder.is_animated() { Motion::Animated } else { Motion::Still };
        Ok(Self { decoder, header: Header { format: Format::Webp, dimensions, orientation, motion } })
    }
}

impl<R: BufRead + Seek> Picture for Webp<R> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn memory(&self, plan: &Plan) -> u64 {
        // Lossy: planes of 1.5 bytes and the result; lossless: 4 and the result. Lossy alpha is decoded as
        // if it were a lossless picture, beside the others. An animation has a frame and a canvas.
        let bytes_a_pixel = match (self.decoder.has_alpha(), self.header.motion) {
            (false, Motion::Still) => 8,
            (true, Motion::Still) => 12,
            (_, Motion::Animated) => 20,
        };
        plan.source.pixels() * bytes_a_pixel + MAX_METADATA_BYTES as u64
    }

    fn decode(mut self, plan: &Plan) -> Result<Decoded, ThumbnailError> {
        let layout = if self.decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
        let length = self.decoder.output_buffer_size().ok_or_else(|| ThumbnailError::malformed("too large"))?;
        let mut samples = vec![0; length];
        self.decoder.read_image(&mut samples)?;
        Ok(Decoded {
            bitmap: Bitmap { width: plan.source.width(), height: plan.source.height(), layout, samples },
            region: plan.region,
            profile: self.decoder.icc_profile().ok().flatten(),
        })
    }
}

/// The largest width and height that a lossy frame declares, of those that the decoder could come to.
fn largest_frame<R: BufRead + Seek>(source: &mut R) -> Result<(u32, u32), ThumbnailError> {
    const FILE_HEADER: i64 = 12;
    const FRAME_HEADER: i64 = 16;
    let mut largest = (0, 0);
    let mut frame_seen = false;
    source.seek_relative(FILE_HEADER)?;
    while let Some((name, length)) = chunk(source)? {
        let mut left = length;
        if &name == b"VP8 " {
            largest = larger(largest, lossy_size(source)?);
            left -= LOSSY_HEADER;
        } else if &name == b"ANMF" && !frame_seen {
            // Only the first frame is ever decoded: at most an alpha chunk and the image's own.
            frame_seen = true;
            source.seek_relative(FRAME_HEADER)?;
            left -= FRAME_HEADER;
            for _ in 0..2 {
                let Some((name, length)) = chunk(source)? else {
                    break;
                };
                left -= CHUNK_HEADER + length;
                let mut inner = length;
                if &name == b"VP8 " {
                    largest = larger(largest, lossy_size(source)?);
                    inner -= LOSSY_HEADER;
                }
                source.seek_relative(inner)?;
                if left <= 0 {
                    break;
                }
            }
        }
        source.seek_relative(left)?;
    }
    Ok(largest)
}

const CHUNK_HEADER: i64 = 8;
const LOSSY_HEADER: i64 = 10;

fn larger(one: (u32, u32), other: (u32, u32)) -> (u32, u32) {
    (one.0.max(other.0), one.1.max(other.1))
}

/// The name of the chunk at the reader's position and how far its end is; `None` at the end of the file.
fn chunk<R: Read>(source: &mut R) -> Result<Option<([u8; 4], i64)>, ThumbnailError> {
    let Some([n0, n1, n2, n3, l0, l1, l2, l3]) = bytes::<8, _>(source)? else {
        return Ok(None);
    };
    // Chunks are padded to an even length.
    let length = i64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    Ok(Some(([n0, n1, n2, n3], length + length % 2)))
}

/// The size in the header of a key frame (RFC 6386, 9.1).
fn lossy_size<R: Read>(source: &mut R) -> Result<(u32, u32), ThumbnailError> {
    let Some([_, _, _, _, _, _, w0, w1, h0, h1]) = bytes::<10, _>(source)? else {
        return Err(ThumbnailError::malformed("a frame breaks off"));
    };
    let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
    Ok((side([w0, w1]), side([h0, h1])))
}

fn bytes<const N: usize, R: Read>(source: &mut R) -> Result<Option<[u8; N]>, ThumbnailError> {
    let mut bytes = [0; N];
    match source.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl From<DecodingError> for ThumbnailError {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::IoError(error) => error.into(),
            DecodingError::UnsupportedFeature(_) => Self::Unsupported { what: "this kind of WebP" },
            error => Self::malformed(error),
        }
    }
}
