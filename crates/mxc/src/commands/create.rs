//! `mxc create`

use std::{
    io::{IsTerminal as _, stderr},
    time::SystemTime,
};

use anyhow::Context as _;
use serde_json::json;
use tintype_client::Client;

use crate::{arguments::Create, output::Output};

pub(super) async fn run(client: &Client, arguments: &Create, output: Output) -> anyhow::Result<()> {
    let create = client.create().lifetime(arguments.keeping.lifetime());
    let create = if arguments.keeping.restricted { create.restricted() } else { create };
    let reservation = create.await.context("reserving a URI")?;
    let mut object = json!({ "content_uri": reservation.mxc.to_string() });
    let expires_at = reservation.unused_expires_at;
    if let Some(since_epoch) = expires_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()) {
        object["unused_expires_at"] = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX).into();
    }
    output.result(&reservation.mxc.to_string(), &object)?;
    if let Some(at) = expires_at.filter(|_| stderr().is_terminal()) {
        output.note(&format!("if nothing is uploaded to it, it expires at {}", humantime::format_rfc3339_seconds(at)));
    }
    Ok(())
}
