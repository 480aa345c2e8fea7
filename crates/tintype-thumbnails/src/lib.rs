//! Thumbnails: decode, resize, encode, in safe Rust.
//!
//! [`thumbnail`] is one synchronous call that reads a source picture and returns the bytes of its
//! thumbnail; [`Pool`] runs such calls on its own threads, a bounded number at a time. Both know nothing
//! of Matrix beyond the section "Thumbnails" of the client-server API, whose words decide the sizes
//! (see [`Method`]). Sources are hostile until proven otherwise: everything that costs memory is
//! computed from the headers and compared with [`Limits`] before it is spent.

mod bitmap;
mod color;
mod decode;
mod encode;
mod error;
mod format;
mod orientation;
mod plan;
mod pool;
mod reduce;
mod request;
mod resize;

use std::io::{BufRead, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use error::ThumbnailError;
pub use format::Format;
pub use pool::{Pool, PoolError};
pub use request::{Dimensions, Limits, Method, Request};

use bitmap::Bitmap;
use decode::{Header, Picture};
use orientation::Orientation;
use plan::Plan;

/// What [`thumbnail`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thumbnail {
    /// A picture that was made for the request.
    Encoded {
        /// The whole file. It carries no EXIF (no location, no camera) and its colours are sRGB.
        bytes: Vec<u8>,
        /// PNG or JPEG.
        format: Format,
        /// Its size as it is to be shown, in pixels.
        dimensions: Dimensions,
    },
    /// The source is not larger than asked and fit to be shown as it is: serve its own bytes.
    ///
    /// Only for sources that are not animated and stand upright. "When the content is smaller than the
    /// requested dimensions, servers should return the original content rather than thumbnail it."
    Original {
        /// The detected type, which may differ from what its uploader declared.
        format: Format,
        /// Its size, in pixels.
        dimensions: Dimensions,
    },
}

/// Makes the thumbnail of `source`, whose whole length is `source_length` bytes.
///
/// The same source and request give the same bytes with the same build on the same kind of machine.
/// Animated sources give their first frame, never an animation. A JPEG that breaks off in its image gives
/// what is there where its decoder can (not where it expects restart markers); others give an error.
///
/// # Errors
///
/// See [`ThumbnailError`]. A decoder that panics counts as a malformed source.
pub fn thumbnail<R: BufRead + Seek>(
    source: R,
    source_length: u64,
    request: &Request,
    limits: &Limits,
) -> Result<Thumbnail, ThumbnailError> {
    if source_length > limits.max_source_bytes {
        return Err(ThumbnailError::TooManyBytes { bytes: source_length, limit: limits.max_source_bytes });
    }
    // The decoders are other people's code fed with hostile bytes: an assertion that fails in one of them
    // says that the source is broken, and nothing of it is used afterwards.
    catch_unwind(AssertUnwindSafe(|| open(source, request, limits)))
        .unwrap_or_else(|_| Err(ThumbnailError::Malformed { reason: "the decoder gave up".into() }))
}

fn open<R: BufRead + Seek>(mut source: R, request: &Request, limits: &Limits) -> Result<Thumbnail, ThumbnailError> {
    let mut magic = Vec::with_capacity(format::MAGIC_LENGTH);
    source.by_ref().take(format::MAGIC_LENGTH as u64).read_to_end(&mut magic)?;
    source.seek(SeekFrom::Start(0))?;
    match Format::detect(&magic) {
        Some(Format::Jpeg) => make(decode::jpeg::Jpeg::open(source)?, request, limits),
        Some(Format::Png | Format::Apng) => make(decode::png::Png::open(source, limits)?, request, limits),
        Some(Format::Gif) => make(decode::gif::Gif::open(source)?, request, limits),
        Some(Format::Webp) => make(decode::webp::Webp::open(source)?, request, limits),
        None => Err(ThumbnailError::Unsupported { what: "this kind of file" }),
    }
}

fn make<P: Picture>(picture: P, request: &Request, limits: &Limits) -> Result<Thumbnail, ThumbnailError> {
    let header = picture.header();
    limits.check_pixels(header.dimensions)?;
    let plan = Plan::new(header.dimensions, header.orientation, request);
    if plan.is_whole_at_own_size() && header.orientation == Orientation::UPRIGHT && !header.motion.is_animated() {
        return Ok(Thumbnail::Original { format: header.format, dimensions: header.dimensions });
    }
    limits.check_memory(picture.memory(&plan).saturating_add(plan.memory()))?;

    let Header { format, orientation, .. } = *header;
    let decoded = picture.decode(&plan)?;
    let resized = resize::resize(decoded.bitmap, &decoded.region, plan.target)?;
    let finished = finish(resized, decoded.profile.as_deref(), orientation);
    encode::encode(&finished, format)
}

/// What is done on the small picture because it is cheap there: colours, useless alpha, orientation.
fn finish(bitmap: Bitmap, profile: Option<&[u8]>, orientation: Orientation) -> Bitmap {
    orientation.upright(color::to_srgb(bitmap, profile).without_opaque_alpha())
}
