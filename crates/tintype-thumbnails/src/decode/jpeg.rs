//! JPEG: decoded at an eighth, a quarter or half of its size where that is enough, which saves most of the
//! inverse transform and of the memory.

use std::io::{BufRead, Read, Seek};

use jpeg_decoder::{Decoder, Error as JpegError, PixelFormat};

use super::jpeg_segments::{Replay, Segments};
use super::{Decoded, Header, Motion, Picture};
use crate::bitmap::{Bitmap, Layout};
use crate::plan::{Plan, whole};
use crate::{Format, ThumbnailError};

/// How much larger than the target a picture is decoded, so that the good filter does most of the work: at
/// once the target's size, a 4000×3000 picture loses 12 dB.
const MARGIN: f64 = 2.0;

pub(crate) struct Jpeg<R: Read> {
    source: R,
    segments: Segments,
    header: Header,
}

impl<R: BufRead + Seek> Jpeg<R> {
    pub fn open(mut source: R) -> Result<Self, ThumbnailError> {
        let segments = Segments::read(&mut source)?;
        let header = Header {
            format: Format::Jpeg,
            dimensions: segments.dimensions,
            orientation: segments.orientation,
            motion: Motion::Still,
        };
        Ok(Self { source, segments, header })
    }
}

/// How many eighths of the full size are enough for the plan: 1, 2, 4 or 8.
fn eighths(plan: &Plan) -> u32 {
    let (horizontal, vertical) = plan.reduction(MARGIN);
    match horizontal.min(vertical) {
        8.. => 1,
        4.. => 2,
        2.. => 4,
        _ => 8,
    }
}

impl<R: BufRead + Seek> Picture for Jpeg<R> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn memory(&self, plan: &Plan) -> u64 {
        let eighths = u64::from(eighths(plan));
        // Two bytes for each coefficient: a progressive picture keeps them all, a sequential one those that
        // its transform has not come to.
        let coefficients = self.segments.samples() * 2;
        let planes = self.segments.samples() * eighths * eighths / 64;
        let pixels = plan.source.pixels() * eighths * eighths / 64;
        let bitmap = pixels * self.segments.channels() as u64;
        coefficients.max(bitmap) + planes + bitmap
    }

    fn decode(mut self, plan: &Plan) -> Result<Decoded, ThumbnailError> {
        let profile = self.segments.take_profile();
        let mut decoder = Decoder::new(Replay::new(self.segments.head, self.source));
        let eighths = eighths(plan);
        if eighths < 8 {
            // The decoder takes the first scale that suffices in one direction: ask for the longer only.
            let side = |length: u32| u16::try_from((length * eighths).div_ceil(8)).unwrap_or(u16::MAX);
            let (width, height) = (plan.source.width(), plan.source.height());
            if width >= height {
                decoder.scale(side(width), u16::MAX)?;
            } else {
                decoder.scale(u16::MAX, side(height))?;
            }
        }
        let samples = decoder.decode()?;
        let info = decoder.info().ok_or_else(|| ThumbnailError::malformed("there is no frame"))?;
        let layout = match info.pixel_format {
            PixelFormat::L8 => Layout::Gray,
            PixelFormat::RGB24 => Layout::Rgb,
            PixelFormat::CMYK32 => Layout::Cmyk,
            PixelFormat::L16 => {
                return Err(ThumbnailError::Unsupported { what: "JPEG with more than 8 bits a sample" });
            }
        };
        let factor = 8.0 / f64::from(eighths);
        let region = plan.region.divided(factor, factor);
        let (width, height) = (u32::from(info.width), u32::from(info.height));
        if whole((region.left + region.width).ceil()) > width || whole((region.top + region.height).ceil()) > height {
            return Err(ThumbnailError::malformed("it is smaller than its header says"));
        }
        Ok(Decoded { bitmap: Bitmap { width, height, layout, samples }, region, profile })
    }
}

impl From<JpegError> for ThumbnailError {
    fn from(error: JpegError) -> Self {
        match error {
            JpegError::Io(error) => error.into(),
            JpegError::Unsupported(_) => Self::Unsupported { what: "this kind of JPEG" },
            error => Self::malformed(error),
        }
    }
}
