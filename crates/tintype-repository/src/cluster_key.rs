//! A key that all nodes of a cluster have and nobody else.

use ring::hmac;

/// A key for one purpose, made from the cluster's secret: what is authenticated for one says nothing for another.
#[derive(Debug, Clone)]
pub struct ClusterKey(hmac::Key);

impl ClusterKey {
    /// The key for this purpose.
    pub fn new(secret: &[u8], purpose: &str) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The HMAC-SHA256 of the message.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, message);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether this is the message's HMAC-SHA256; it takes as long whatever is wrong.
    pub fn is_of(&self, tag: &[u8], message: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }

    /// The first eight bytes of the message's HMAC-SHA256: a number that all nodes have for it, and nobody else can aim for.
    pub(crate) fn number_of(&self, message: &[u8]) -> u64 {
        let tag = hmac::sign(&self.0, message);
        tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_holds_for_its_key_its_purpose_and_its_message_alone() {
        let key = ClusterKey::new(b"secret", "one");
        let tag = key.sign(b"message");

        assert!(ClusterKey::new(b"secret", "one").is_of(&tag, b"message"));
        assert!(!ClusterKey::new(b"secret", "other").is_of(&tag, b"message"));
        assert!(!ClusterKey::new(b"Secret", "one").is_of(&tag, b"message"));
        assert!(!key.is_of(&tag, b"Message"));
        assert!(!key.is_of(&tag[..31], b"message"));
        assert!(!key.is_of(b"", b"message"));
    }
}
