//! `mxc upload FILE`

use anyhow::Context as _;
use serde_json::json;
use tintype_client::Client;

use crate::{arguments::Upload, input::Input, output::Output, progress::Progress};

pub(super) async fn run(client: &Client, arguments: Upload, output: Output) -> anyhow::Result<()> {
    let Input { source, what, content_type, filename } = Input::open(arguments.content).await?;
    let progress = Progress::of(&what, source.length(), output);
    let mut upload = client.upload(source).on_event(progress.listener());
    if let Some(content_type) = content_type {
        upload = upload.content_type(content_type);
    }
    if let Some(filename) = filename {
        upload = upload.filename(filename);
    }
    let uploaded = upload.await;
    progress.end();
    let mxc = uploaded.with_context(|| format!("uploading {what}"))?;
    output.result(&mxc.to_string(), &json!({ "content_uri": mxc.to_string() }))
}
