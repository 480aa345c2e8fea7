//! What is asked for, and how much it may cost.

use std::num::NonZeroU32;

use crate::ThumbnailError;

const MEBIBYTE: u64 = 1024 * 1024;

/// The size of a picture in pixels. Neither side is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dimensions {
    width: NonZeroU32,
    height: NonZeroU32,
}

impl Dimensions {
    /// `None` if a side is zero.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        Some(Self { width: NonZeroU32::new(width)?, height: NonZeroU32::new(height)? })
    }

    /// As [`Dimensions::new`], for sides computed to be at least one; a zero is taken as one.
    pub(crate) fn at_least_one(width: u32, height: u32) -> Self {
        Self {
            width: NonZeroU32::new(width).unwrap_or(NonZeroU32::MIN),
            height: NonZeroU32::new(height).unwrap_or(NonZeroU32::MIN),
        }
    }

    /// In pixels, at least 1.
    pub fn width(self) -> u32 {
        self.width.get()
    }

    /// In pixels, at least 1.
    pub fn height(self) -> u32 {
        self.height.get()
    }

    /// Width times height.
    pub fn pixels(self) -> u64 {
        u64::from(self.width()) * u64::from(self.height())
    }

    pub(crate) fn transposed(self) -> Self {
        Self { width: self.height, height: self.width }
    }
}

/// How a picture is fitted to the requested size: "Thumbnails" in the client-server API.
///
/// The section says of `scale` that it "tries to return an image where either the width or the height is
/// smaller than the requested size", which sounds like fitting inside the box (as Synapse does); and it
/// says of both methods: "The dimensions given to the thumbnail API are the minimum size the client would
/// prefer", "the server will return an image larger than or equal to the dimensions requested where
/// possible", "Servers MUST NOT upscale thumbnails under any circumstance. Servers MUST NOT return a
/// smaller thumbnail than requested, unless the original content makes that impossible". The endpoint's
/// parameters repeat: "The actual thumbnail may be larger than the size specified". What is tried yields
/// to what MUST be, so both methods here return at least the requested width *and* height wherever the
/// source has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Keeps the aspect ratio: the smallest size that covers the requested one.
    ///
    /// 4000×3000 asked for 320×240 gives 320×240; asked for 320×320 gives 427×320. A source that does not
    /// reach the requested size in a direction stays at its own size, since any smaller one would fall
    /// shorter still.
    Scale,
    /// Gives the requested aspect ratio from the middle of the picture.
    ///
    /// Where the source reaches the requested size in both directions, the result has exactly that size.
    /// Where it reaches it in one, the result is the largest part of the source with that aspect, not
    /// resized. Where it is not larger in either it stays whole: "when the content is smaller than the
    /// requested dimensions, servers should return the original content rather than thumbnail it".
    Crop,
}

/// A thumbnail to be made. Whether `size` is one that the server likes to make is its caller's decision;
/// a result is never larger than its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The least size wanted, as the picture is to be shown (after EXIF orientation).
    pub size: Dimensions,
    /// How to fit it.
    pub method: Method,
}

/// What one picture may cost. All three are checked before the cost arises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Declared width times height.
    pub max_pixels: u64,
    /// The length of the source in bytes.
    pub max_source_bytes: u64,
    /// Bytes that decoding and resizing may hold at once.
    ///
    /// It is compared with the worst case by the header; the usual case takes much less.
    pub max_memory: u64,
}

impl Default for Limits {
    /// 64 megapixels, 100 MiB, 256 MiB.
    fn default() -> Self {
        Self { max_pixels: 64_000_000, max_source_bytes: 100 * MEBIBYTE, max_memory: 256 * MEBIBYTE }
    }
}

impl Limits {
    pub(crate) fn check_pixels(&self, dimensions: Dimensions) -> Result<(), ThumbnailError> {
        if dimensions.pixels() > self.max_pixels {
            return Err(ThumbnailError::TooManyPixels { pixels: dimensions.pixels(), limit: self.max_pixels });
        }
        Ok(())
    }

    pub(crate) fn check_memory(&self, bytes: u64) -> Result<(), ThumbnailError> {
        if bytes > self.max_memory {
            return Err(ThumbnailError::TooMuchMemory { bytes, limit: self.max_memory });
        }
        Ok(())
    }
}
