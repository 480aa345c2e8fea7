//! The formats that are read. Each opens a source as far as its header, says what decoding would cost, and
//! only then decodes, reducing on the way where it can.

pub(crate) mod gif;
pub(crate) mod jpeg;
mod jpeg_segments;
pub(crate) mod png;
pub(crate) mod webp;

use crate::bitmap::Bitmap;
use crate::orientation::Orientation;
use crate::plan::{Plan, Region};
use crate::{Dimensions, Format, ThumbnailError};

/// What the first bytes of a picture say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub format: Format,
    /// As stored, before `orientation` is applied.
    pub dimensions: Dimensions,
    pub orientation: Orientation,
    pub motion: Motion,
}

/// Whether a picture moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    Still,
    Animated,
}

impl Motion {
    pub fn is_animated(self) -> bool {
        self == Self::Animated
    }
}

/// A source that was opened and not yet decoded.
pub(crate) trait Picture {
    fn header(&self) -> &Header;

    /// The most bytes that [`Picture::decode`] may hold at once for this plan, its result included, and
    /// what resizing that result may take beside it.
    fn memory(&self, plan: &Plan) -> u64;

    /// The picture, at its own size or reduced, but never to less than twice the plan's target.
    fn decode(self, plan: &Plan) -> Result<Decoded, ThumbnailError>;
}

/// What [`Picture::decode`] gives.
pub(crate) struct Decoded {
    pub bitmap: Bitmap,
    /// Where the plan's region lies in the bitmap.
    pub region: Region,
    /// The ICC profile as it was found.
    pub profile: Option<Vec<u8>>,
}
