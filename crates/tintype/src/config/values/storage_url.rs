//! Where records and bytes are kept, as URLs whose scheme names the store.
//!
//! What is neither store's is refused: taking it as a path, or ignoring it, would put the media somewhere else than the
//! operator thinks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{postgres_url::PostgresUrl, text_value};

/// Where the records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:path`: a file, relative to `data_dir`.
    Sqlite(PathBuf),
    /// `postgres://user@host/database`.
    Postgres(PostgresUrl),
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobsUrl {
    /// `file:path`: a folder, relative to `data_dir`.
    File(PathBuf),
    /// `s3://bucket/prefix`: a bucket, and what the names of its objects begin with.
    S3 {
        /// The name of the bucket.
        bucket: String,
        /// Without a slash at either end; may be empty.
        prefix: String,
    },
}

/// Why a text does not say where something is stored. Texts that may hold a password are not quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseStorageUrlError {
    /// Not `sqlite:`, `postgres://` or `postgresql://`.
    #[error("a database URL begins with \"sqlite:\" or \"postgres://\"")]
    NotADatabase,
    /// Not `file:` or `s3://`.
    #[error("a blob store's URL begins with \"file:\" or \"s3://\"")]
    NotABlobStore,
    /// No path follows the scheme.
    #[error("a path must follow {0:?}")]
    NoPath(&'static str),
    /// `sqlite::memory:`, which would forget every record at the end.
    #[error("a database in memory is not supported: every record would be lost at the end")]
    InMemory,
    /// A query such as `?mode=ro`.
    #[error("{0:?} takes a path only, without \"?\" and options")]
    Options(&'static str),
    /// The URL has no host, no database or no bucket.
    #[error("not a valid URL; write {0:?}")]
    Malformed(&'static str),
    /// A prefix that the names of objects should not have.
    #[error("a prefix consists of letters, digits and !-_.*'(), with \"/\" between its parts")]
    Prefix,
    /// A parameter of a database URL that is not known.
    #[error("there is no parameter {name:?}; there are {}", known.join(", "))]
    UnknownParameter {
        /// What was written.
        name: String,
        /// What there is.
        known: &'static [&'static str],
    },
    /// An `sslmode` that there is not.
    #[error("there is no sslmode {mode:?}; there are {}", known.join(", "))]
    UnknownSslMode {
        /// What was written.
        mode: String,
        /// What there is.
        known: &'static [&'static str],
    },
    /// A password where it would be shown.
    #[error("the password follows the user's name, or stands in database.password or database.password_file")]
    PasswordAsParameter,
}

impl BlobsUrl {
    /// The folder of the blobs, as it was written; none if they are in a bucket.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::S3 { .. } => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = ParseStorageUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            if rest == ":memory:" {
                return Err(ParseStorageUrlError::InMemory);
            }
            return path("sqlite:", rest).map(Self::Sqlite);
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(ParseStorageUrlError::NotADatabase);
        }
        PostgresUrl::parse(text).map(Self::Postgres)
    }
}

impl FromStr for BlobsUrl {
    type Err = ParseStorageUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("file:") {
            return path("file:", rest).map(Self::File);
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err(ParseStorageUrlError::NotABlobStore);
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(bucket_byte) {
            return Err(ParseStorageUrlError::Malformed("s3://bucket/prefix"));
        }
        let prefix = prefix.trim_end_matches('/');
        let segment_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()".contains(&byte);
        let is_segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(segment_byte);
        if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
            return Err(ParseStorageUrlError::Prefix);
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// What follows the scheme: `path`, or `//path` as URLs of files are often written.
fn path(scheme: &'static str, rest: &str) -> Result<PathBuf, ParseStorageUrlError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(ParseStorageUrlError::NoPath(scheme));
    }
    if path.contains('?') {
        return Err(ParseStorageUrlError::Options(scheme));
    }
    Ok(PathBuf::from(path))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(formatter),
        }
    }
}

impl fmt::Display for BlobsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(formatter, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(formatter, "s3://{bucket}/{prefix}"),
        }
    }
}

text_value!(
    DatabaseUrl,
    "DatabaseUrl",
    "^(sqlite:|postgres(ql)?://).+",
    ["sqlite:tintype.db", "postgres://tintype@localhost/tintype"]
);
text_value!(BlobsUrl, "BlobsUrl", "^(file:|s3://).+", ["file:media"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_follows_the_scheme_with_or_without_slashes() {
        let database = |text: &str| text.parse::<DatabaseUrl>().unwrap();
        assert_eq!(database("sqlite:tintype.db"), DatabaseUrl::Sqlite("tintype.db".into()));
        assert_eq!(database("sqlite:/var/lib/t.db"), DatabaseUrl::Sqlite("/var/lib/t.db".into()));
        assert_eq!(database("sqlite:///var/lib/t.db"), DatabaseUrl::Sqlite("/var/lib/t.db".into()));
        assert_eq!("file:media".parse::<BlobsUrl>().unwrap().folder(), Some(Path::new("media")));
    }

    #[test]
    fn a_bucket_may_have_a_prefix_of_several_parts() {
        for (text, bucket, prefix) in
            [("s3://b", "b", ""), ("s3://b/", "b", ""), ("s3://my.b-1/a/b_c/", "my.b-1", "a/b_c")]
        {
            let url: BlobsUrl = text.parse().unwrap();
            assert_eq!(url, BlobsUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
            assert_eq!(url.to_string().parse::<BlobsUrl>().unwrap(), url);
        }
        for text in ["s3://b/../x", "s3://b//x", "s3://b/a b", "s3://b/x?y", "s3://b/%2e", "s3://b/a/./b"] {
            assert_eq!(text.parse::<BlobsUrl>(), Err(ParseStorageUrlError::Prefix), "{text}");
        }
    }

    #[test]
    fn malformed_urls_are_refused_without_quoting_their_password() {
        for text in ["postgres://u:hunter2@host", "postgres://u:hunter2@:99999/x", "mysql://u:hunter2@h/d", "hunter2"] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for text in ["", "sqlite:", "sqlite://", "sqlite::memory:", "sqlite:x.db?mode=ro"] {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text:?}");
        }
        for text in ["", "file:", "s3://", "s3:///prefix", "s3://a b/c", "media"] {
            assert!(text.parse::<BlobsUrl>().is_err(), "{text:?}");
        }
    }
}
