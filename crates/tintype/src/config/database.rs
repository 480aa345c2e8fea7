//! `[database]`: where the records are kept.

use std::{num::NonZeroU32, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    report::Report,
    values::{DatabaseUrl, Secret, path},
};

/// Where the records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// "sqlite:path", or "postgres://user@host/database" for PostgreSQL 15 or later.
    pub url: DatabaseUrl,
    /// The password for PostgreSQL, if it is not in the URL.
    pub password: Option<Secret>,
    /// A file that holds the password for PostgreSQL.
    #[serde(deserialize_with = "path::optional")]
    pub password_file: Option<PathBuf>,
    /// How many connections to PostgreSQL are open at most.
    pub max_connections: NonZeroU32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::Sqlite("tintype.db".into()),
            password: None,
            password_file: None,
            max_connections: NonZeroU32::new(16).expect("it is more than none"),
        }
    }
}

impl DatabaseConfig {
    pub(super) fn read_secrets(&mut self, report: &mut Report) {
        let file = self.password_file.as_deref();
        report.read_secret("database.password", &mut self.password, file);
    }

    pub(super) fn check(&self, report: &mut Report) {
        if let DatabaseUrl::Postgres(url) = &self.url
            && url.has_password()
            && self.password.is_some()
        {
            report
                .error("database.password", "is given together with one in database.url; only one of them is possible");
        }
    }
}
