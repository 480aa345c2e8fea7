//! `[blobs.cdn]`: a CDN in front of this server.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::report::Report;
use super::values::{Secret, path, web_url};

/// A CDN that reads from this server, with URLs that are signed here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CdnConfig {
    /// Its URL, as clients and other servers know it: `https://cdn.example.org`.
    #[serde(deserialize_with = "web_url::base")]
    #[schemars(with = "Option<String>")]
    pub base_url: Option<Url>,
    /// What signs the URLs, the same on all nodes: at least 32 characters.
    pub secret: Option<Secret>,
    /// A file that holds `secret`.
    #[serde(deserialize_with = "path::optional")]
    pub secret_file: Option<PathBuf>,
}

impl CdnConfig {
    pub(super) fn read_secrets(&mut self, report: &mut Report) {
        report.read_secret("blobs.cdn.secret", &mut self.secret, self.secret_file.as_deref());
    }

    pub(super) fn check(&self, report: &mut Report) {
        const SHORTEST: usize = 32;
        if let Some(url) = &self.base_url
            && !matches!(url.path(), "" | "/")
        {
            report.error("blobs.cdn.base_url", "has a path; what is signed begins with the path");
        }
        match (&self.base_url, &self.secret) {
            (Some(_), None) => report.error("blobs.cdn.secret", "is needed with blobs.cdn.base_url"),
            (_, Some(secret)) if secret.expose().len() < SHORTEST => {
                report.error("blobs.cdn.secret", format!("has to have at least {SHORTEST} characters"));
            }
            (None, Some(_)) => report.error("blobs.cdn.base_url", "is needed with blobs.cdn.secret"),
            _ => {}
        }
    }
}
