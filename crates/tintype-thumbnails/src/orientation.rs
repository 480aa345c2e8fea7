//! EXIF orientation: which way up a picture is stored.
//!
//! Of all of EXIF this one number is needed, so it is read here in a few lines rather than by a parser of
//! the whole standard fed with hostile bytes. Nothing of the EXIF block is ever copied to a thumbnail: it
//! tells where and with what a photograph was taken.

use crate::bitmap::Bitmap;

/// How to get from the stored to the upright picture: flip it, then swap rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation {
    transpose: bool,
    flip_x: bool,
    flip_y: bool,
}

const ORIENTATION_TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const ENTRY_LENGTH: usize = 12;

impl Orientation {
    /// Stored as it is to be shown.
    pub const UPRIGHT: Self = Self::new(false, false, false);

    const fn new(transpose: bool, flip_x: bool, flip_y: bool) -> Self {
        Self { transpose, flip_x, flip_y }
    }

    /// By the value of the EXIF tag; unknown values are upright.
    pub fn from_exif_value(value: u16) -> Self {
        match value {
            2 => Self::new(false, true, false),
            3 => Self::new(false, true, true),
            4 => Self::new(false, false, true),
            5 => Self::new(true, false, false),
            6 => Self::new(true, true, false),
            7 => Self::new(true, true, true),
            8 => Self::new(true, false, true),
            _ => Self::UPRIGHT,
        }
    }

    /// By an EXIF block, with or without its `Exif\0\0` prefix; what cannot be read is upright.
    pub fn from_exif(block: &[u8]) -> Self {
        let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        orientation_tag(tiff).map_or(Self::UPRIGHT, Self::from_exif_value)
    }

    /// Whether width and height change places.
    pub fn transposes(self) -> bool {
        self.transpose
    }

    /// The picture as it is to be shown.
    pub fn upright(self, bitmap: Bitmap) -> Bitmap {
        if self == Self::UPRIGHT {
            return bitmap;
        }
        let channels = bitmap.layout.channels();
        let (stored_width, stored_height) = (bitmap.width, bitmap.height);
        let (width, height) =
            if self.transpose { (stored_height, stored_width) } else { (stored_width, stored_height) };
        let mut samples = Vec::with_capacity(bitmap.samples.len());
        for y in 0..height {
            let y = if self.flip_y { height - 1 - y } else { y };
            for x in 0..width {
                let x = if self.flip_x { width - 1 - x } else { x };
                let (column, row) = if self.transpose { (y, x) } else { (x, y) };
                let start = (row as usize * stored_width as usize + column as usize) * channels;
                samples.extend_from_slice(&bitmap.samples[start..start + channels]);
            }
        }
        Bitmap { width, height, samples, ..bitmap }
    }
}

/// The orientation in the first directory of a TIFF structure (EXIF 2.32, 4.6.2).
fn orientation_tag(tiff: &[u8]) -> Option<u16> {
    let little_endian = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let offset: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory =
        usize::try_from(if little_endian { u32::from_le_bytes(offset) } else { u32::from_be_bytes(offset) }).ok()?;
    let entries = usize::from(short(directory)?);
    let first = directory.checked_add(2)?;
    (0..entries)
        .map_while(|index| {
            let entry = first.checked_add(index * ENTRY_LENGTH)?;
            Some((short(entry)?, short(entry + 2)?, short(entry + 8)?))
        })
        .find(|&(tag, kind, _)| tag == ORIENTATION_TAG && kind == SHORT)
        .map(|(_, _, value)| value)
}
