//! `mxc download MXC`, and `mxc download --decrypt KEYFILE`

use anyhow::bail;
use tintype_client::Client;

use super::fetch::{fetch, fetch_encrypted};
use crate::{arguments::Download, key_file, output::Output};

pub(super) async fn run(client: &Client, arguments: &Download, output: Output) -> anyhow::Result<()> {
    let Download { mxc, decrypt, saving } = arguments;
    match (mxc, decrypt) {
        (_, Some(path)) => {
            let file = key_file::read(path)?;
            if mxc.as_ref().is_some_and(|mxc| mxc != file.mxc()) {
                bail!("{} opens {}, and not {}", key_file::shown(path), file.mxc(), mxc.as_ref().unwrap_or(file.mxc()));
            }
            fetch_encrypted(&file, saving, output, || client.download(file.mxc())).await
        }
        (Some(mxc), None) => fetch(mxc, "downloading", saving, output, || client.download(mxc)).await,
        (None, None) => bail!("there is nothing to download"),
    }
}
