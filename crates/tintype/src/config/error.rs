//! Everything that is wrong with a configuration, at once.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Where it was written.
    pub place: Place,
    /// The dotted key, such as `server[0].homeserver`; empty where it is not about a key.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file, on a line if that is known (from 1).
    File(Arc<Path>, Option<usize>),
    /// In an environment variable of this name.
    Environment(Arc<str>),
    /// Nowhere: it is a default.
    Default,
}

impl Place {
    pub(super) fn file(path: &Arc<Path>, line: Option<usize>) -> Self {
        Self::File(Arc::clone(path), line)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path, Some(line)) => write!(formatter, "{}:{line}: ", path.display())?,
            Place::File(path, None) => write!(formatter, "{}: ", path.display())?,
            Place::Environment(variable) => write!(formatter, "environment {variable}: ")?,
            Place::Default => {}
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Every error of a configuration: those of the file by line, then those of the environment. Shown one on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort();
        errors.dedup();
        Self(errors)
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
