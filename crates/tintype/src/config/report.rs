//! Collects what is wrong while a configuration is checked.

use std::path::{Path, PathBuf};

use super::values::{ByteSize, Duration, Secret};

/// What is wrong, by key.
pub struct Report {
    data_dir: PathBuf,
    errors: Vec<Finding>,
    /// Keys whose values could not be read, so that defaults stand in for them.
    refused: Vec<String>,
}

/// A key and what is wrong with its value.
pub struct Finding {
    /// The dotted key.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Report {
    /// A report on a configuration in which the values of `refused` were left out.
    pub fn new(data_dir: PathBuf, refused: Vec<String>) -> Self {
        Self { data_dir, errors: Vec::new(), refused }
    }

    /// What was found.
    pub fn into_findings(self) -> Vec<Finding> {
        self.errors
    }

    /// Notes that the value of `key` is wrong. Left out if something of it could not even be read: what stands in its
    /// place is not what the operator wrote.
    pub fn error(&mut self, key: &str, message: impl Into<String>) {
        if !self.refused.iter().any(|refused| is_related(refused, key)) {
            self.errors.push(Finding { key: key.to_owned(), message: message.into() });
        }
    }

    /// Requires some time.
    pub fn not_zero(&mut self, key: &str, duration: Duration) {
        if duration.is_zero() {
            self.error(key, "must be more than \"0s\"");
        }
    }

    /// Requires some bytes.
    pub fn not_zero_size(&mut self, key: &str, size: ByteSize) {
        if size.bytes() == 0 {
            self.error(key, "must be more than 0");
        }
    }

    /// Fills the secret `key` from its file, if it has one.
    pub fn read_secret(&mut self, key: &str, secret: &mut Option<Secret>, file: Option<&Path>) {
        let Some(file) = file else {
            return;
        };
        let file_key = format!("{key}_file");
        if secret.is_some() {
            self.error(&file_key, "is given together with the secret itself; only one of them is possible");
            return;
        }
        let path = self.data_dir.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                *secret = Secret::new(&text);
                if secret.is_none() {
                    self.error(&file_key, format!("{} is empty", path.display()));
                }
            }
            Err(error) => self.error(&file_key, format!("cannot read {}: {error}", path.display())),
        }
    }
}

/// Whether one key contains the other. A list that lost an element counts as a whole, since the others moved up; the
/// list of servers does not, since each of them is checked under its own key.
fn is_related(refused: &str, key: &str) -> bool {
    let list = refused.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
    let refused = match list {
        Some((list, _)) if list != "server" => list,
        _ => refused,
    };
    let contains = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    contains(refused, key) || contains(key, refused)
}
