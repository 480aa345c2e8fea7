//! The name of a blob in its store.

use std::{fmt::Write as _, path::PathBuf};

use tintype_domain::{ContentHash, Randomness};

/// Bytes of randomness in the suffix.
const SUFFIX: usize = 6;

/// Where a blob is: `{sha256}-{suffix}`, both in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    name: Box<str>,
    hash: ContentHash,
}

impl Location {
    /// A location that was never used before, for bytes with this hash.
    pub fn new(hash: ContentHash, randomness: &dyn Randomness) -> Self {
        let mut suffix = [0; SUFFIX];
        randomness.fill(&mut suffix);
        let mut name = hash.to_hex();
        name.push('-');
        for byte in suffix {
            write!(name, "{byte:02x}").expect("writing to a String cannot fail");
        }
        Self { name: name.into(), hash }
    }

    /// Parses a location; none if it is not of the form that [`Location::new`] makes.
    pub fn parse(name: &str) -> Option<Self> {
        let (hex, suffix) = name.split_once('-')?;
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != 64 || suffix.len() != 2 * SUFFIX || !is_hex(hex) || !is_hex(suffix) {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self { name: name.into(), hash: ContentHash::try_from(&hash[..]).ok()? })
    }

    /// The location as text.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of the bytes there.
    pub fn content_hash(&self) -> ContentHash {
        self.hash
    }

    /// The path of its file below the media folder: two levels of folders, so that none grows too large.
    pub(super) fn relative_path(&self) -> PathBuf {
        [&self.name[0..2], &self.name[2..4], &*self.name].iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use tintype_domain::OsRandomness;

    use super::*;

    #[test]
    fn a_location_prints_and_parses_and_never_repeats() {
        let hash = ContentHash::of(b"abc");

        let first = Location::new(hash, &OsRandomness);
        let second = Location::new(hash, &OsRandomness);

        assert_eq!(Location::parse(first.as_str()).as_ref(), Some(&first));
        assert_eq!(first.content_hash(), hash);
        assert_ne!(first, second);
        assert_eq!(first.relative_path().to_str().unwrap(), format!("ba/78/{}", first.as_str()));
    }

    #[test]
    fn what_is_no_location_is_refused() {
        let good = Location::new(ContentHash::of(b"abc"), &OsRandomness).as_str().to_owned();

        for bad in ["", "abc", "../../etc/passwd", &good[1..], &good.to_uppercase(), &format!("{good}0")] {
            assert_eq!(Location::parse(bad), None, "{bad}");
        }
    }
}
