//! The kinds of picture, told by their first bytes: what an uploader declares is never believed.

/// How many bytes [`Format::detect`] needs to see.
pub(crate) const MAGIC_LENGTH: usize = 16;

/// A kind of picture from the specification's list for thumbnails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG
    Jpeg,
    /// PNG that is not animated
    Png,
    /// Animated PNG
    Apng,
    /// GIF, animated or not
    Gif,
    /// WebP, animated or not
    Webp,
}

impl Format {
    /// The format that a file with these first bytes (16 are enough) claims to be.
    ///
    /// A PNG's animation is announced further on: it is [`Format::Png`] here.
    pub fn detect(start: &[u8]) -> Option<Self> {
        match start {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        }
    }

    /// The media type for `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Apng => "image/apng",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// The usual end of a file name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Apng => "apng",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }
}
