//! Why there is no thumbnail. The variants are what a server answers differently: what cannot be
//! thumbnailed (400), what is too large (413) and what is the server's own trouble (500).

use std::io;

/// Why [`thumbnail`](crate::thumbnail) gave none.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// Not a picture, or one of a kind that is not decoded here.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was found.
        what: &'static str,
    },
    /// It begins like a picture but is not one, or breaks off.
    #[error("the picture is malformed: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
    /// Its header declares more pixels than [`Limits::max_pixels`](crate::Limits::max_pixels).
    #[error("the picture has {pixels} pixels, and {limit} are allowed")]
    TooManyPixels {
        /// Declared.
        pixels: u64,
        /// Allowed.
        limit: u64,
    },
    /// It is longer than [`Limits::max_source_bytes`](crate::Limits::max_source_bytes).
    #[error("the picture has {bytes} bytes, and {limit} are allowed")]
    TooManyBytes {
        /// Its length.
        bytes: u64,
        /// Allowed.
        limit: u64,
    },
    /// Decoding it could take more than [`Limits::max_memory`](crate::Limits::max_memory).
    #[error("the picture could take {bytes} bytes of memory to decode, and {limit} are allowed")]
    TooMuchMemory {
        /// The most that decoding could take, by the header.
        bytes: u64,
        /// Allowed.
        limit: u64,
    },
    /// The source could not be read.
    #[error("the source could not be read")]
    Io(#[source] io::Error),
}

impl ThumbnailError {
    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over by map_err")]
    pub(crate) fn malformed(reason: impl ToString) -> Self {
        Self::Malformed { reason: reason.to_string() }
    }
}

/// A source that ends too early is malformed; any other failure to read is the server's.
impl From<io::Error> for ThumbnailError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::malformed(error)
            }
            _ => Self::Io(error),
        }
    }
}
