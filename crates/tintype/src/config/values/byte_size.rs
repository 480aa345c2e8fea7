//! Sizes in bytes, written with a unit: `"100MiB"`, `"1GB"`, or a plain number of bytes.
//!
//! A bare `M` is refused: half of the programs an operator knows read it as 1000², the other half as 1024².

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseByteSizeError {
    /// There is no number, or the unit is not one that is known.
    #[error("{0:?} is not a size; write a whole number and a unit, such as \"100MiB\" or \"1GB\"")]
    Malformed(String),
    /// A unit such as `M`, which could mean 1000² or 1024².
    #[error(
        "{text:?} could mean two sizes; write \"{number}{letter}iB\" (powers of 1024) or \"{number}{letter}B\" (powers of 1000)"
    )]
    Ambiguous {
        /// What was written.
        text: String,
        /// The number in it.
        number: u64,
        /// The unit's letter, in upper case.
        letter: char,
    },
    /// More than fits in 64 bits.
    #[error("{0:?} is more bytes than can be counted")]
    TooLarge(String),
}

/// Units from the largest to the smallest, those that stand for a power of 1024 first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// A size of this many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of this many KiB (1024 bytes). The factor is small and constant; it saturates rather than wraps.
    pub const fn kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// A size of this many MiB (1024² bytes). The factor is small and constant; it saturates rather than wraps.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseByteSizeError::Malformed(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(malformed());
        }
        let number: u64 = number.parse().map_err(|_| ParseByteSizeError::TooLarge(text.to_owned()))?;
        let unit = unit.trim_start();
        if unit.is_empty() {
            return Ok(Self(number));
        }
        if let Some(&(_, factor)) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            return number.checked_mul(factor).map(Self).ok_or_else(|| ParseByteSizeError::TooLarge(text.to_owned()));
        }
        match unit.to_ascii_uppercase().as_bytes() {
            [letter @ (b'K' | b'M' | b'G' | b'T')] => {
                Err(ParseByteSizeError::Ambiguous { text: text.to_owned(), number, letter: char::from(*letter) })
            }
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = exact.copied().unwrap_or(("B", 1));
        write!(formatter, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size such as \"100MiB\", or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": r"^\s*[0-9]+\s*([KkMmGgTt][Ii]?)?[Bb]?\s*$",
            "examples": ["100MiB", "1GB", 65536],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        text.parse().ok().map(ByteSize::bytes)
    }

    #[test]
    fn units_are_powers_of_1024_with_an_i_and_of_1000_without() {
        assert_eq!(bytes("100MiB"), Some(104_857_600));
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        assert_eq!(bytes("64kib"), Some(65_536));
        assert_eq!(bytes("3 KB"), Some(3_000));
        assert_eq!(bytes("2TiB"), Some(2 << 40));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("7B"), Some(7));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "MiB", "-1MiB", "1.5GiB", "1 XB", "1MiBs", "all", "0x10"] {
            assert!(matches!(text.parse::<ByteSize>(), Err(ParseByteSizeError::Malformed(_))), "{text:?}");
        }
        for text in ["99999999999999999999", "99999999999TiB"] {
            assert!(matches!(text.parse::<ByteSize>(), Err(ParseByteSizeError::TooLarge(_))), "{text:?}");
        }
    }

    #[test]
    fn a_bare_letter_is_refused_with_both_ways_to_write_it() {
        let error = "50m".parse::<ByteSize>().unwrap_err().to_string();
        assert!(error.contains("\"50MiB\"") && error.contains("\"50MB\""), "{error}");
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_size() {
        for bytes in [0, 1, 1_000, 1_024, 1_500, 104_857_600, 1_000_000_000, 3 << 40, u64::MAX] {
            let size = ByteSize::from_bytes(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(ByteSize::mib(100).to_string(), "100MiB");
    }
}
