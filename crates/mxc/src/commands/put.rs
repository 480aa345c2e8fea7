//! `mxc put MXC FILE`

use anyhow::Context as _;
use serde_json::json;
use tintype_client::{Client, Resumable};

use crate::{
    arguments::{Put, Resumable as When},
    input::Input,
    output::Output,
    progress::Progress,
};

pub(super) async fn run(client: &Client, arguments: Put, output: Output) -> anyhow::Result<()> {
    let Put { mxc, content, resumable, go_on } = arguments;
    let Input { source, what, content_type, filename } = Input::open(content).await?;
    let progress = Progress::of(&what, source.length(), output);
    let mut put = client.put(&mxc, source).on_event(progress.listener()).resumable(match resumable {
        When::Auto => Resumable::IfPossible,
        When::Always => Resumable::Always,
        When::Never => Resumable::Never,
    });
    if let Some(content_type) = content_type {
        put = put.content_type(content_type);
    }
    if let Some(filename) = filename {
        put = put.filename(filename);
    }
    if go_on {
        put = put.continuing();
    }
    let done = put.await;
    progress.end();
    done.with_context(|| format!("uploading {what} to {mxc}"))?;
    output.result(&mxc.to_string(), &json!({ "content_uri": mxc.to_string() }))
}
