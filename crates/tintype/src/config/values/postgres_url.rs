//! The URL of a PostgreSQL database, as libpq writes them.
//!
//! It may hold a password, and is shown without it. Parameters that are not known are refused: one that is misspelled
//! (`ssl_mode=verify-full`) would otherwise leave a connection unprotected that is thought to be.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use url::Url;

use super::{ParseStorageUrlError, Secret};

/// How it is written.
const FORM: &str = "postgres://user@host/database";

/// What may follow the question mark.
const PARAMETERS: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name"];

/// The parameters that are paths.
const PATHS: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// What `sslmode` can be.
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Where a PostgreSQL database is: `postgres://user@host:port/database?sslmode=verify-full`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Url);

impl PostgresUrl {
    pub(super) fn parse(text: &str) -> Result<Self, ParseStorageUrlError> {
        let url = Url::parse(text).map_err(|_| ParseStorageUrlError::Malformed(FORM))?;
        if url.path().trim_matches('/').is_empty() || url.fragment().is_some() {
            return Err(ParseStorageUrlError::Malformed(FORM));
        }
        for (name, value) in url.query_pairs() {
            if name == "password" {
                return Err(ParseStorageUrlError::PasswordAsParameter);
            }
            if !PARAMETERS.contains(&&*name) {
                return Err(ParseStorageUrlError::UnknownParameter { name: name.into_owned(), known: &PARAMETERS });
            }
            if name == "sslmode" && !MODES.contains(&&*value) {
                return Err(ParseStorageUrlError::UnknownSslMode { mode: value.into_owned(), known: &MODES });
            }
        }
        Ok(Self(url))
    }

    /// The password in it, percent-encoded as it stands there.
    pub fn has_password(&self) -> bool {
        self.0.password().is_some()
    }

    /// The whole, with its password, for the one place that connects. Relative paths start at `folder`.
    pub fn expose_in(&self, folder: &Path) -> Secret {
        let mut url = self.0.clone();
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        url.set_query(None);
        for (name, value) in pairs {
            let value = if PATHS.contains(&&*name) {
                folder.join(PathBuf::from(value)).to_string_lossy().into_owned()
            } else {
                value
            };
            url.query_pairs_mut().append_pair(&name, &value);
        }
        Secret::new(url.as_str()).expect("a URL is not empty")
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        // Fails where there can be no password.
        let _ = url.set_password(None);
        url.fmt(formatter)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PostgresUrl {
        PostgresUrl::parse(text).unwrap()
    }

    #[test]
    fn a_password_is_given_to_whoever_connects_and_shown_to_nobody() {
        let url = parsed("postgres://tintype:hunter2@db.example.org:5433/tintype?sslmode=verify-full");
        let shown = "postgres://tintype@db.example.org:5433/tintype?sslmode=verify-full";
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("PostgresUrl({shown})"));
        assert!(url.has_password());
        assert!(
            url.expose_in(Path::new("/data")).expose().starts_with("postgres://tintype:hunter2@db.example.org:5433/")
        );
    }

    #[test]
    fn certificates_are_found_from_the_folder_of_data() {
        let url = parsed("postgres://t@h/d?sslmode=verify-full&sslrootcert=ca.pem&sslkey=/etc/key.pem");
        let whole = Url::parse(url.expose_in(Path::new("/data")).expose()).unwrap();
        let pairs: Vec<_> = whole.query_pairs().map(|(_, value)| value.into_owned()).collect();
        assert_eq!(pairs, ["verify-full", "/data/ca.pem", "/etc/key.pem"]);
    }

    #[test]
    fn what_is_misspelled_is_refused_and_not_ignored() {
        let error = |text| PostgresUrl::parse(text).unwrap_err().to_string();
        assert!(error("postgres://t@h/d?ssl_mode=verify-full").contains("\"ssl_mode\""));
        assert!(error("postgres://t@h/d?sslmode=verify_full").contains("\"verify_full\""));
        let password = error("postgres://t@h/d?password=hunter2");
        assert!(password.contains("database.password") && !password.contains("hunter2"));
    }
}
