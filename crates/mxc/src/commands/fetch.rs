//! Media into a file or to standard output: what downloads and thumbnails have in common.
//!
//! The library goes on after a broken connection by itself. Only where the media has become another one meanwhile, as
//! it can while its upload is interrupted and sent anew, has it to begin again, and that is possible with a file alone.

use anyhow::Context as _;
use serde_json::json;
use tintype_client::{Download, Error, MediaRequest, Mxc};

use crate::{
    arguments::Saving,
    output::Output,
    progress::Progress,
    target::{Sink, Target},
};

/// How often a download begins before it is given up because the media changes.
const BEGINNINGS: u32 = 3;

pub(super) async fn fetch(
    mxc: &Mxc,
    doing: &str,
    saving: &Saving,
    output: Output,
    request: impl Fn() -> MediaRequest,
) -> anyhow::Result<()> {
    let target = Target::of(saving)?;
    let progress = Progress::of(&mxc.to_string(), None, output);
    let ask = async || {
        let request = request().on_event(progress.listener());
        let download = match saving.wait {
            Some(wait) => request.wait(wait).await?,
            None => request.await?,
        };
        progress.length(download.length());
        Ok(download)
    };
    let fetched = write(target, mxc, output, ask).await;
    progress.end();
    let (sink, download) = fetched.with_context(|| format!("{doing} {mxc}"))?;
    let Some(path) = sink.finish()? else { return Ok(()) };
    let path = path.display().to_string();
    let object = json!({
        "path": path,
        "size": download.position(),
        "content_type": download.content_type(),
        "filename": download.filename(),
    });
    output.result(&path, &object)
}

async fn write(
    target: Target,
    mxc: &Mxc,
    output: Output,
    ask: impl AsyncFn() -> Result<Download, Error>,
) -> anyhow::Result<(Sink, Download)> {
    let mut download = ask().await?;
    let mut sink = target.open(download.filename(), mxc.media_id.as_str())?;
    for beginning in 1.. {
        match download.copy_to(&mut sink.writer()).await {
            Ok(_) => break,
            Err(Error::Changed) if beginning < BEGINNINGS && sink.rewind().await? => {
                output.note("the media has changed; beginning again");
                download = ask().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((sink, download))
}
