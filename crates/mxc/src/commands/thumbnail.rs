//! `mxc thumbnail MXC --width W --height H`

use tintype_client::{Client, Thumbnail};

use super::fetch::fetch;
use crate::{
    arguments::{Method, Thumbnail as Arguments},
    output::Output,
};

pub(super) async fn run(client: &Client, arguments: &Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments { mxc, width, height, method, animated, saving } = arguments;
    let mut thumbnail = match method {
        Method::Scale => Thumbnail::scale(*width, *height),
        Method::Crop => Thumbnail::crop(*width, *height),
    };
    if *animated {
        thumbnail = thumbnail.animated();
    }
    fetch(mxc, "fetching a thumbnail of", saving, output, || client.thumbnail(mxc, thumbnail)).await
}
