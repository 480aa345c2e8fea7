//! What is sent: a file, or standard input.

use std::path::Path;

use anyhow::Context as _;
use tintype_client::Source;

use crate::{arguments::ToSend, failure::printable};

/// Something to send, and what to say of it.
pub struct Input {
    /// The bytes.
    pub source: Source,
    /// What it is called in messages.
    pub what: String,
    pub content_type: Option<String>,
    pub filename: Option<String>,
}

impl Input {
    /// Opens it.
    pub async fn open(content: ToSend) -> anyhow::Result<Self> {
        let ToSend { file, content_type, filename } = content;
        if file == Path::new("-") {
            let filename = filename.filter(|name| !name.is_empty());
            let source = Source::reader(tokio::io::stdin());
            return Ok(Self { source, what: "standard input".to_owned(), content_type, filename });
        }
        let what = printable(&file.display().to_string());
        let source = Source::file(&file).await.with_context(|| format!("opening {what}"))?;
        let content_type = content_type.or_else(|| mime_guess::from_path(&file).first_raw().map(str::to_owned));
        let own_name = || Some(file.file_name()?.to_string_lossy().into_owned());
        let filename = filename.or_else(own_name).filter(|name| !name.is_empty());
        Ok(Self { source, what, content_type, filename })
    }
}
