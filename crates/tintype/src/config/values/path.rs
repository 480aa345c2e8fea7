//! Paths: any text that is not empty. An empty one would silently mean the folder it is relative to.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

/// A path that is not empty; a type of its own, so that an error in a list names the entry.
struct NonEmpty(PathBuf);

impl<'de> Deserialize<'de> for NonEmpty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(de::Error::custom("a path cannot be empty"));
        }
        Ok(Self(PathBuf::from(text)))
    }
}

/// Reads a path.
pub fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    NonEmpty::deserialize(deserializer).map(|NonEmpty(path)| path)
}

/// Reads a path for a key that need not be there.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    required(deserializer).map(Some)
}

/// Reads a list of paths.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<NonEmpty>::deserialize(deserializer)?;
    Ok(paths.into_iter().map(|NonEmpty(path)| path).collect())
}
