//! Bytes to upload that are not a picture.

/// Bytes that differ from their neighbours, so that any that are lost, doubled or out of place are noticed.
pub fn pattern(length: usize) -> Vec<u8> {
    // A prime period fits no buffer.
    (0..251).cycle().take(length).collect()
}
