//! The segments of a JPEG before its first scan: read here for the size, the orientation and the profile, and
//! to hand the decoder no more than it needs. Everything after goes through [`Replay`], which ends what
//! breaks off and stops what was made to keep the decoder busy.

use std::io::{self, BufRead, Read};

use crate::color::MAX_PROFILE_BYTES;
use crate::orientation::Orientation;
use crate::{Dimensions, ThumbnailError};

/// Tables and headers that the decoder gets; a handful of kilobytes in real files.
const MAX_HEAD_BYTES: usize = 1024 * 1024;

/// Scans of one picture. Encoders make about ten; each may be a few bytes long and cost a walk over the
/// whole picture.
const MAX_SCANS: usize = 200;

/// APP segments that the decoder would keep, between scans. There is no reason for any.
const MAX_LATE_APP_SEGMENTS: usize = 16;

const CHUNK: usize = 64 * 1024;

/// One colour's share of the picture.
#[derive(Clone, Copy, Debug)]
struct Component {
    horizontal: u64,
    vertical: u64,
}

/// What stands before the first scan.
pub(crate) struct Segments {
    pub dimensions: Dimensions,
    components: Vec<Component>,
    pub orientation: Orientation,
    icc_chunks: Vec<(u8, u8, Vec<u8>)>,
    /// The part of it that the decoder needs.
    pub head: Vec<u8>,
}

impl Segments {
    /// Reads up to and including the header of the first scan.
    pub fn read<R: BufRead>(source: &mut R) -> Result<Self, ThumbnailError> {
        let mut start = [0; 2];
        source.read_exact(&mut start)?;
        let mut head = start.to_vec();
        let mut frame = None;
        let mut orientation = None;
        let mut icc_chunks = Vec::new();
        let mut icc_bytes = 0;
        loop {
            let marker = marker(source)?;
            match marker {
                0x01 | 0xd0..=0xd7 => continue,
                0xd8 | 0xd9 => return Err(ThumbnailError::malformed("there is no image")),
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf if marker != 0xcc => {
                    return Err(ThumbnailError::Unsupported { what: "lossless, hierarchical or arithmetic JPEG" });
                }
                _ => {}
            }
            let payload = payload(source)?;
            match marker {
                0xe1 if payload.starts_with(b"Exif\0\0") => {
                    orientation.get_or_insert_with(|| Orientation::from_exif(&payload));
                }
                0xe2 => {
                    if let Some([sequence, count, chunk @ ..]) = payload.strip_prefix(b"ICC_PROFILE\0") {
                        icc_bytes += chunk.len();
                        if icc_bytes <= MAX_PROFILE_BYTES {
                            icc_chunks.push((*sequence, *count, chunk.to_vec()));
                        }
                    }
                }
                // Adobe's and JFIF's say how colours are coded.
                0xe1..=0xed | 0xef | 0xfe => {}
                _ => {
                    if head.len() + payload.len() > MAX_HEAD_BYTES {
                        return Err(ThumbnailError::malformed("too many tables"));
                    }
                    let length = u16::try_from(payload.len() + 2)
                        .map_err(|_| ThumbnailError::malformed("a segment is too long"))?;
                    head.extend([0xff, marker]);
                    head.extend(length.to_be_bytes());
                    head.extend(&payload);
                }
            }
            match marker {
                0xc0..=0xc2 if frame.is_none() => frame = Some(self::frame(&payload)?),
                0xda => break,
                _ => {}
            }
        }
        let (dimensions, components) = frame.ok_or_else(|| ThumbnailError::malformed("there is no frame"))?;
        if icc_bytes > MAX_PROFILE_BYTES {
            icc_chunks.clear();
        }
        Ok(Self { dimensions, components, orientation: orientation.unwrap_or(Orientation::UPRIGHT), icc_chunks, head })
    }

    /// The profile, put together (ICC.1:2022, B.4); `None` if a part is missing or there twice.
    pub fn take_profile(&mut self) -> Option<Vec<u8>> {
        let mut chunks = std::mem::take(&mut self.icc_chunks);
        chunks.sort_unstable_by_key(|&(sequence, ..)| sequence);
        let complete = chunks.iter().zip(1_usize..).all(|((sequence, count, _), expected)| {
            usize::from(*sequence) == expected && usize::from(*count) == chunks.len()
        });
        let profile: Vec<u8> = chunks.into_iter().flat_map(|(_, _, chunk)| chunk).collect();
        (complete && !profile.is_empty()).then_some(profile)
    }

    pub fn channels(&self) -> usize {
        self.components.len()
    }

    /// Samples of all components, at full size and padded to whole blocks.
    pub fn samples(&self) -> u64 {
        let widest = self.components.iter().map(|one| one.horizontal).max().unwrap_or(1);
        let highest = self.components.iter().map(|one| one.vertical).max().unwrap_or(1);
        let columns = u64::from(self.dimensions.width()).div_ceil(8 * widest) * 8;
        let rows = u64::from(self.dimensions.height()).div_ceil(8 * highest) * 8;
        let blocks = self.components.iter().map(|one| one.horizontal * one.vertical);
        columns * rows * blocks.sum::<u64>()
    }
}

/// The next marker's code. What stands before it is skipped, as other decoders do.
fn marker<R: BufRead>(source: &mut R) -> Result<u8, ThumbnailError> {
    let mut byte = [0];
    let mut after_ff = false;
    loop {
        source.read_exact(&mut byte)?;
        match byte[0] {
            0xff => after_ff = true,
            0x00 => after_ff = false,
            code if after_ff => return Ok(code),
            _ => {}
        }
    }
}

/// What a segment holds, without its length.
fn payload<R: BufRead>(source: &mut R) -> Result<Vec<u8>, ThumbnailError> {
    let mut length = [0; 2];
    source.read_exact(&mut length)?;
    let length = usize::from(u16::from_be_bytes(length))
        .checked_sub(2)
        .ok_or_else(|| ThumbnailError::malformed("a segment is shorter than its length"))?;
    let mut payload = vec![0; length];
    source.read_exact(&mut payload)?;
    Ok(payload)
}

/// A frame header (ITU-T T.81, B.2.2).
fn frame(payload: &[u8]) -> Result<(Dimensions, Vec<Component>), ThumbnailError> {
    let broken = || ThumbnailError::malformed("the frame header is broken");
    let (&[precision, h0, h1, w0, w1, count], components) = payload.split_first_chunk::<6>().ok_or_else(broken)?;
    if precision != 8 {
        return Err(ThumbnailError::Unsupported { what: "JPEG with more than 8 bits a sample" });
    }
    if !matches!(count, 1 | 3 | 4) || components.len() != usize::from(count) * 3 {
        return Err(broken());
    }
    let width = u16::from_be_bytes([w0, w1]).into();
    let height = u16::from_be_bytes([h0, h1]).into();
    let dimensions = Dimensions::new(width, height).ok_or_else(|| ThumbnailError::malformed("a side is zero"))?;
    let (components, _) = components.as_chunks::<3>();
    let components: Vec<_> = components
        .iter()
        .map(|&[_, sampling, _]| Component { horizontal: (sampling >> 4).into(), vertical: (sampling & 0x0f).into() })
        .collect();
    let factors = 1..=4;
    if !components.iter().all(|one| factors.contains(&one.horizontal) && factors.contains(&one.vertical)) {
        return Err(broken());
    }
    Ok((dimensions, components))
}

/// The head again, then the rest of the source, then end-of-image markers for ever: a picture that breaks off
/// is decoded as far as it goes.
pub(crate) struct Replay<R> {
    source: R,
    buffer: Vec<u8>,
    position: usize,
    last: u8,
    scans: usize,
    late_app_segments: usize,
}

impl<R: Read> Replay<R> {
    pub fn new(head: Vec<u8>, source: R) -> Self {
        Self { source, buffer: head, position: 0, last: 0, scans: 0, late_app_segments: 0 }
    }

    #[cold]
    fn refill(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.position = 0;
        self.source.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)?;
        if self.buffer.is_empty() {
            self.buffer.extend([0xff, 0xd9]);
        }
        self.count_markers()
    }

    /// In entropy-coded data 0xff is never followed by these, and in tables hardly.
    fn count_markers(&mut self) -> io::Result<()> {
        let mut last = self.last;
        for &byte in &self.buffer {
            if last == 0xff {
                match byte {
                    0xda => self.scans += 1,
                    0xe1 | 0xe2 | 0xed => self.late_app_segments += 1,
                    _ => {}
                }
            }
            last = byte;
        }
        self.last = last;
        if self.scans > MAX_SCANS || self.late_app_segments > MAX_LATE_APP_SEGMENTS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many scans or application segments"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Replay<R> {
    #[inline]
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.position == self.buffer.len() {
            self.refill()?;
        }
        let available = &self.buffer[self.position..];
        let length = available.len().min(target.len());
        target[..length].copy_from_slice(&available[..length]);
        self.position += length;
        Ok(length)
    }

    /// The decoder reads byte by byte: this is its innermost loop.
    #[inline]
    fn read_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        if let [byte] = target
            && let Some(&next) = self.buffer.get(self.position)
        {
            *byte = next;
            self.position += 1;
            return Ok(());
        }
        let mut filled = 0;
        while filled < target.len() {
            filled += self.read(&mut target[filled..])?;
        }
        Ok(())
    }
}
