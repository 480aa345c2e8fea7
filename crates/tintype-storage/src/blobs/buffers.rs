//! Buffers that are used again and again, so that a transfer costs no allocation and memory stays where it is.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

/// Bytes of one buffer: large enough that a system call costs little beside the copy, small enough that the few
/// that a connection holds at once stay under half a megabyte.
pub(super) const BUFFER: usize = 128 * 1024;

/// Buffers kept for later: 8 MiB.
const KEPT: usize = 64;

/// A pool of buffers of [`BUFFER`] bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    pub(super) fn take(&self) -> Buffer {
        let kept = self.0.lock().ok().and_then(|mut kept| kept.pop());
        Buffer { bytes: kept.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()), filled: 0, pool: self.clone() }
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Buffers,
}

impl Buffer {
    /// All of the buffer, to be written to.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `filled` bytes, as bytes that give the buffer back when the last of them is dropped.
    pub(super) fn into_bytes(mut self, filled: usize) -> Bytes {
        self.filled = filled;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut kept) = self.pool.0.lock()
            && kept.len() < KEPT
        {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
