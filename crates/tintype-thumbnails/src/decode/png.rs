//! PNG: rows are reduced as they are read, so that a large picture never is in memory at once. Interlaced
//! ones have to be. Of an APNG the default image is taken, which is what it shows where animation is not
//! supported.

use std::io::{BufRead, Seek};

use png::{ColorType, Decoder, DecodingError, Limits as PngLimits, Reader, Transformations};

use super::{Decoded, Header, Motion, Picture};
use crate::bitmap::{Bitmap, Layout};
use crate::color::MAX_PROFILE_BYTES;
use crate::orientation::Orientation;
use crate::plan::Plan;
use crate::reduce::Reducer;
use crate::{Dimensions, Format, Limits, ThumbnailError};

/// What the decoder may use beside rows: chunks before the image, and the profile while it is inflated.
const MAX_CHUNK_BYTES: usize = 2 * MAX_PROFILE_BYTES;

pub(crate) struct Png<R: BufRead + Seek> {
    reader: Reader<R>,
    header: Header,
    layout: Layout,
}

impl<R: BufRead + Seek> Png<R> {
    pub fn open(source: R, limits: &Limits) -> Result<Self, ThumbnailError> {
        let mut decoder = Decoder::new(source);
        decoder.set_ignore_text_chunk(true);
        // A damaged checksum is no reason to show nothing, and checking costs a tenth of the time.
        decoder.ignore_checksums(true);
        decoder.set_transformations(Transformations::normalize_to_color8());
        let info = decoder.read_header_info()?;
        let dimensions =
            Dimensions::new(info.width, info.height).ok_or_else(|| ThumbnailError::malformed("a side is zero"))?;
        // Before read_info, which makes room for rows: 16 bits and four channels, several of them.
        limits.check_pixels(dimensions)?;
        let rows = u64::from(dimensions.width()) * 8 * 4;
        limits.check_memory(rows)?;
        let bytes = usize::try_from(rows).unwrap_or(usize::MAX);
        decoder.set_limits(PngLimits { bytes: bytes.saturating_add(MAX_CHUNK_BYTES) });
        let reader = decoder.read_info()?;
        let info = reader.info();
        if let Some(frame) = info.frame_control()
            && (frame.width, frame.height) != (info.width, info.height)
        {
            return Err(ThumbnailError::malformed("the first frame is not the image"));
        }
        let header = Header {
            format: match info.animation_control() {
                Some(_) => Format::Apng,
                None => Format::Png,
            },
            dimensions,
            orientation: info.exif_metadata.as_deref().map_or(Orientation::UPRIGHT, Orientation::from_exif),
            motion: match info.animation_control() {
                Some(_) => Motion::Animated,
                None => Motion::Still,
            },
        };
        let layout = match reader.output_color_type().0 {
            ColorType::Grayscale => Layout::Gray,
            ColorType::GrayscaleAlpha => Layout::GrayAlpha,
            ColorType::Rgb | ColorType::Indexed => Layout::Rgb,
            ColorType::Rgba => Layout::Rgba,
        };
        Ok(Self { reader, header, layout })
    }
}

impl<R: BufRead + Seek> Picture for Png<R> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn memory(&self, plan: &Plan) -> u64 {
        let whole =
            if self.reader.info().interlaced { plan.source.pixels() * self.layout.channels() as u64 } else { 0 };
        let rows = u64::from(plan.source.width()) * 8 * 4 + MAX_CHUNK_BYTES as u64;
        // Resizing with alpha works on a copy.
        whole + rows + Reducer::memory(plan, self.layout) * 2
    }

    fn decode(mut self, plan: &Plan) -> Result<Decoded, ThumbnailError> {
        let length = plan.source.width() as usize * self.layout.channels();
        let mut reducer = Reducer::new(plan, self.layout);
        if self.reader.info().interlaced {
            let mut whole = vec![0; length * plan.source.height() as usize];
            self.reader.next_frame(&mut whole)?;
            whole.chunks_exact(length).for_each(|row| reducer.push_row(row));
        } else {
            let mut row = vec![0; length];
            for _ in 0..plan.source.height() {
                self.reader.read_row(&mut row)?;
                reducer.push_row(&row);
            }
        }
        let (bitmap, region): (Bitmap, _) = reducer.finish(plan);
        let info = self.reader.info();
        let profile = match info.srgb {
            Some(_) => None,
            None => info.icc_profile.as_deref().map(<[u8]>::to_vec),
        };
        Ok(Decoded { bitmap, region, profile })
    }
}

impl From<DecodingError> for ThumbnailError {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::IoError(error) => error.into(),
            error => Self::malformed(error),
        }
    }
}
