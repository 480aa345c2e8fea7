//! `mxc download MXC`

use tintype_client::Client;

use super::fetch::fetch;
use crate::{arguments::Download, output::Output};

pub(super) async fn run(client: &Client, arguments: &Download, output: Output) -> anyhow::Result<()> {
    let Download { mxc, saving } = arguments;
    fetch(mxc, "downloading", saving, output, || client.download(mxc)).await
}
