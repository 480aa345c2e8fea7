//! The header lines of a part.
//!
//! A line may also end with LF alone: it cannot be taken for anything else. Lines that continue the one before
//! (`obs-fold`) are refused, as HTTP does.

use bytes::{Buf as _, Bytes};
use http::{HeaderName, HeaderValue};

use super::MixedError;

/// The longest head of a part, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;

/// What the second part says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaHead {
    /// `Content-Type`, as it is: a valid header value.
    pub content_type: Option<Vec<u8>>,
    /// `Content-Disposition`, as it is: a valid header value.
    pub content_disposition: Option<Vec<u8>>,
    /// How long the media is, in bytes.
    pub content_length: Option<u64>,
    /// Where the media is, if it is not in the part.
    pub location: Option<String>,
}

/// Collects the header lines of one part.
#[derive(Default)]
pub(super) struct HeadReader {
    line: Vec<u8>,
    read: usize,
    head: MediaHead,
}

impl HeadReader {
    /// Takes from the beginning of `piece` what belongs to the head. Returns the head when it is complete.
    pub(super) fn read(&mut self, piece: &mut Bytes) -> Result<Option<MediaHead>, MixedError> {
        while !piece.is_empty() {
            let line_end = piece.iter().position(|&byte| byte == b'\n');
            let taken = line_end.map_or(piece.len(), |at| at + 1);
            self.read += taken;
            if self.read > MAX_HEAD {
                return Err(MixedError::HeadTooLong);
            }
            self.line.extend_from_slice(&piece[..taken]);
            piece.advance(taken);
            if line_end.is_none() {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                return Ok(Some(std::mem::take(&mut self.head)));
            }
            self.header(line)?;
        }
        Ok(None)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), MixedError> {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(MixedError::Header)?;
        // A name with spaces around it is none, so that a continued line is refused, too.
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| MixedError::Header)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| MixedError::Header)?;
        let value = value.as_bytes();
        let repeated = match name.as_str() {
            "content-type" => self.head.content_type.replace(value.to_vec()).map(|_| "Content-Type"),
            "content-disposition" => {
                self.head.content_disposition.replace(value.to_vec()).map(|_| "Content-Disposition")
            }
            "content-length" => self.head.content_length.replace(length(value)?).map(|_| "Content-Length"),
            "location" => {
                let location = str::from_utf8(value).map_err(|_| MixedError::Header)?;
                self.head.location.replace(location.to_owned()).map(|_| "Location")
            }
            "content-encoding" if !value.eq_ignore_ascii_case(b"identity") => return Err(MixedError::Encoded),
            "content-transfer-encoding" if !is_plain(value) => return Err(MixedError::Encoded),
            _ => None,
        };
        repeated.map_or(Ok(()), |name| Err(MixedError::RepeatedHeader(name)))
    }
}

/// Whether a part with this `Content-Transfer-Encoding` holds its bytes as they are (RFC 2045 §6.2).
fn is_plain(value: &[u8]) -> bool {
    [&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain))
}

fn length(value: &[u8]) -> Result<u64, MixedError> {
    // Not what `parse` alone takes: a sign.
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(MixedError::Header)
}
