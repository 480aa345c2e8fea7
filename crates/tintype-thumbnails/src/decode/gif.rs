//! GIF: the first frame, laid on its transparent canvas. Pixels are kept as indices of the palette, one byte
//! each, and get their colours row by row on the way into the reducer.

use std::io::{BufRead, Seek, SeekFrom};

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::{Decoded, Header, Motion, Picture};
use crate::bitmap::Layout;
use crate::orientation::Orientation;
use crate::plan::Plan;
use crate::reduce::Reducer;
use crate::{Dimensions, Format, ThumbnailError};

/// What the decoder may keep of extensions.
const MAX_EXTENSION_BYTES: u64 = 4 * 1024 * 1024;

pub(crate) struct Gif<R: BufRead + Seek> {
    source: R,
    header: Header,
    frame: Dimensions,
}

impl<R: BufRead + Seek> Gif<R> {
    pub fn open(mut source: R) -> Result<Self, ThumbnailError> {
        let mut options = options();
        options.skip_frame_decoding(true);
        let mut decoder = options.read_info(&mut source)?;
        let dimensions = Dimensions::new(decoder.width().into(), decoder.height().into())
            .ok_or_else(|| ThumbnailError::malformed("a side is zero"))?;
        let frame = decoder.next_frame_info()?.ok_or_else(|| ThumbnailError::malformed("there is no frame"))?;
        let frame = Dimensions::new(frame.width.into(), frame.height.into())
            .ok_or_else(|| ThumbnailError::malformed("a side of the frame is zero"))?;
        // What follows a good first frame does not matter: damage there makes it no animation.
        let motion = match decoder.next_frame_info() {
            Ok(Some(_)) => Motion::Animated,
            Ok(None) | Err(_) => Motion::Still,
        };
        drop(decoder);
        source.seek(SeekFrom::Start(0))?;
        Ok(Self {
            source,
            header: Header { format: Format::Gif, dimensions, orientation: Orientation::UPRIGHT, motion },
            frame,
        })
    }
}

fn options() -> DecodeOptions {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.allow_unknown_blocks(true);
    if let Ok(limit) = MAX_EXTENSION_BYTES.try_into() {
        options.set_memory_limit(MemoryLimit::Bytes(limit));
    }
    options
}

impl<R: BufRead + Seek> Picture for Gif<R> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn memory(&self, plan: &Plan) -> u64 {
        let row = u64::from(plan.source.width()) * 4;
        self.frame.pixels() + row + MAX_EXTENSION_BYTES + Reducer::memory(plan, Layout::Rgba) * 2
    }

    fn decode(self, plan: &Plan) -> Result<Decoded, ThumbnailError> {
        let mut decoder = options().read_info(self.source)?;
        let frame = decoder.next_frame_info()?.ok_or_else(|| ThumbnailError::malformed("there is no frame"))?.clone();
        let mut indices = vec![0; decoder.buffer_size()];
        decoder.read_into_buffer(&mut indices)?;
        let colors = colors(decoder.palette()?, frame.transparent);

        let (left, top) = (usize::from(frame.left), usize::from(frame.top));
        let mut rows = indices.chunks_exact(usize::from(frame.width));
        let mut reducer = Reducer::new(plan, Layout::Rgba);
        let mut canvas = vec![[0; 4]; plan.source.width() as usize];
        for y in 0..plan.source.height() as usize {
            canvas.fill([0; 4]);
            if y >= top
                && let Some(row) = rows.next()
            {
                for (pixel, &index) in canvas.iter_mut().skip(left).zip(row) {
                    *pixel = colors[usize::from(index)];
                }
            }
            reducer.push_row(canvas.as_flattened());
        }
        let (bitmap, region) = reducer.finish(plan);
        Ok(Decoded { bitmap, region, profile: None })
    }
}

/// What each index means; one that the palette lacks is transparent.
fn colors(palette: &[u8], transparent: Option<u8>) -> [[u8; 4]; 256] {
    let mut colors = [[0; 4]; 256];
    let (palette, _) = palette.as_chunks::<3>();
    for (color, &[red, green, blue]) in colors.iter_mut().zip(palette) {
        *color = [red, green, blue, u8::MAX];
    }
    if let Some(index) = transparent {
        colors[usize::from(index)] = [0; 4];
    }
    colors
}

impl From<DecodingError> for ThumbnailError {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::Io(error) => error.into(),
            error => Self::malformed(error),
        }
    }
}
