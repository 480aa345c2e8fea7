//! `mxc upload FILE`

use anyhow::Context as _;
use serde_json::json;
use tintype_client::Client;

use crate::{arguments::Upload, input::Input, output::Output, progress::Progress};

pub(super) async fn run(client: &Client, arguments: Upload, output: Output) -> anyhow::Result<()> {
    let Upload { content, keeping, encrypt } = arguments;
    let input = Input::open(content).await?;
    let progress = Progress::of(&input.what, input.source.length(), output);
    if encrypt {
        let Input { source, what, .. } = input;
        let upload = client.upload_encrypted(source).lifetime(keeping.lifetime()).on_event(progress.listener());
        let upload = if keeping.restricted { upload.restricted() } else { upload };
        let uploaded = upload.await;
        progress.end();
        let file = uploaded.with_context(|| format!("uploading {what}"))?;
        let object = json!({ "content_uri": file.mxc().to_string(), "file": file });
        return output.result(&object["file"].to_string(), &object);
    }
    let Input { source, what, content_type, filename } = input;
    let mut upload = client.upload(source).lifetime(keeping.lifetime()).on_event(progress.listener());
    if keeping.restricted {
        upload = upload.restricted();
    }
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
