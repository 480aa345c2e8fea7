//! `mxc rm MXC…`
//!
//! Deleted, gone already and not allowed are one to the proposal: the request was made, and the exit code says so. A
//! person wants to know which it was.

use anyhow::Context as _;
use serde_json::json;
use tintype_client::{Client, Deletion};

use crate::{arguments::Rm, output::Output};

pub(super) async fn run(client: &Client, arguments: &Rm, output: Output) -> anyhow::Result<()> {
    for mxc in &arguments.mxc {
        let deletion = client.delete(mxc).await.with_context(|| format!("deleting {mxc}"))?;
        let (outcome, words) = match deletion {
            Deletion::Deleted => ("deleted", "deleted"),
            Deletion::AlreadyGone => ("already_gone", "deleted before, or never there"),
            Deletion::NotAllowed => {
                ("not_allowed", "not deleted: not yours, not ephemeral, or never there; the server does not say which")
            }
            _ => ("unknown", "the server gave an answer that this program does not know"),
        };
        output.result(&format!("{mxc}: {words}"), &json!({ "content_uri": mxc.to_string(), "outcome": outcome }))?;
    }
    Ok(())
}
