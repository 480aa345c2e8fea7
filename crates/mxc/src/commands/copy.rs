//! `mxc copy MXC`

use anyhow::Context as _;
use serde_json::json;
use tintype_client::Client;

use crate::{arguments::Copy, output::Output};

pub(super) async fn run(client: &Client, arguments: &Copy, output: Output) -> anyhow::Result<()> {
    let mxc = &arguments.mxc;
    let copy = client.copy(mxc).await.with_context(|| format!("copying {mxc}"))?;
    output.result(&copy.to_string(), &json!({ "content_uri": copy.to_string() }))
}
