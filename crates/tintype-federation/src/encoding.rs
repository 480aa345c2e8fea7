//! Base64 as other servers write it.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Padded or not, and the unused bits of the last character may be set, as they are in the test vectors of the
/// specification.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes base64 of exactly `N` bytes, such as a key or a signature.
pub(crate) fn decode_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    LENIENT.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_padded_and_unpadded_and_of_the_right_length_only() {
        for text in ["+/8", "+/8=", "+/9"] {
            assert_eq!(decode_base64(text), Some([0xfb, 0xff]), "{text}");
        }
        for text in ["", "+/", "+/8A", "-_8", "+/8==", "+/ 8", "+/8\n"] {
            assert_eq!(decode_base64::<2>(text), None, "{text:?}");
        }
    }
}
