//! The answer of one server's media endpoint to another server: `multipart/mixed` with exactly two parts (server-server
//! API, "Content Repository"): a JSON object about the media, and its bytes or the place where they are.
//!
//! Nothing here does I/O. The decoder takes the bytes as they come and gives what they mean as soon as it is certain,
//! so that media can be passed on while it arrives; the encoder makes what goes around bytes that come from elsewhere.

mod boundary;
mod decode;
mod delimiter;
mod encode;
mod head;

pub use decode::{MAX_METADATA, MAX_PADDING, MixedDecoder, MixedEvent};
pub use encode::MixedEncoder;
pub use head::{MAX_HEAD, MediaHead};

/// Why an answer is not the two parts that it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixedError {
    /// The type of the answer is another one, or cannot be read.
    #[error("the answer is not multipart/mixed")]
    OtherType,
    /// The boundary is missing, stated twice, or not 1 to 70 of the characters of RFC 2046.
    #[error("the answer states no valid boundary")]
    Boundary,
    /// More than [`MAX_PADDING`] bytes stand where nothing is expected: before the parts, after them, or beside a
    /// `Location`.
    #[error("the answer has more than {MAX_PADDING} bytes outside of its parts")]
    PaddingTooLong,
    /// A line of a delimiter holds something else.
    #[error("a boundary is followed by something else on its line")]
    Delimiter,
    /// The header lines of a part are longer than [`MAX_HEAD`].
    #[error("the head of a part is longer than {MAX_HEAD} bytes")]
    HeadTooLong,
    /// A header line of a part cannot be read.
    #[error("a part has a malformed header line")]
    Header,
    /// A header that counts is there twice.
    #[error("a part states its {0} twice")]
    RepeatedHeader(&'static str),
    /// A part's bytes are not the ones that it stands for: nobody asked for that, and nobody unpacks them.
    #[error("a part is packed")]
    Encoded,
    /// The first part is longer than [`MAX_METADATA`].
    #[error("the first part is longer than {MAX_METADATA} bytes")]
    MetadataTooLong,
    /// The first part is not a JSON object.
    #[error("the first part is not a JSON object")]
    Metadata,
    /// The second part is not as long as it states.
    #[error("the second part states {stated} bytes and has {}", Had(*.had, *.stated))]
    Length {
        /// How long the part says it is, in bytes.
        stated: u64,
        /// How many bytes there were until that was known to be wrong.
        had: u64,
    },
    /// There is no second part.
    #[error("the answer has fewer than two parts")]
    TooFewParts,
    /// There is a third part.
    #[error("the answer has more than two parts")]
    TooManyParts,
    /// The answer ends before its parts do.
    #[error("the answer ends before its second part does")]
    Truncated,
}

/// How many bytes there were, as a text.
struct Had(u64, u64);

impl std::fmt::Display for Had {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 > self.1 { f.write_str("more") } else { write!(f, "{}", self.0) }
    }
}
