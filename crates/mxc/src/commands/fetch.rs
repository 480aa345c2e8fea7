//! Media into a file or to standard output: what downloads and thumbnails have in common.
//!
//! The library goes on after a broken connection by itself. Only where the media has become another one meanwhile, as
//! it can while its upload is interrupted and sent anew, has it to begin again, and that is possible with a file alone.

use std::io;

use anyhow::Context as _;
use serde_json::json;
use tintype_client::{Download, EncryptedFile, Error, MediaRequest, Mxc};
use tokio::{fs::File, io::AsyncWriteExt as _};

use crate::{
    arguments::Saving,
    output::Output,
    progress::Progress,
    target::{Sink, Target},
};

/// How often a download begins before it is given up because the media changes.
const BEGINNINGS: u32 = 3;

const CHANGED: &str = "the media has changed; beginning again";

/// Downloads it as it is.
pub(super) async fn fetch(
    mxc: &Mxc,
    doing: &str,
    saving: &Saving,
    output: Output,
    request: impl Fn() -> MediaRequest,
) -> anyhow::Result<()> {
    let target = Target::of(saving)?;
    let progress = Progress::of(&mxc.to_string(), None, output);
    let fetched = write(target, mxc, output, || ask(request(), saving, &progress)).await;
    progress.end();
    let (sink, download) = fetched.with_context(|| format!("{doing} {mxc}"))?;
    let (content_type, filename) = (download.content_type(), download.filename());
    finish(sink, download.position(), content_type, filename, output)
}

/// Downloads and decrypts it; nothing is to be seen before it is verified.
pub(super) async fn fetch_encrypted(
    file: &EncryptedFile,
    saving: &Saving,
    output: Output,
    request: impl Fn() -> MediaRequest,
) -> anyhow::Result<()> {
    let (mxc, target) = (file.mxc(), Target::of(saving)?);
    let progress = Progress::of(&mxc.to_string(), None, output);
    let fetched = decrypt(target, file, output, || ask(request(), saving, &progress)).await;
    progress.end();
    let (sink, size) = fetched.with_context(|| format!("downloading {mxc}"))?;
    finish(sink, size, None, None, output)
}

async fn ask(request: MediaRequest, saving: &Saving, progress: &Progress) -> Result<Download, Error> {
    let request = request.on_event(progress.listener());
    let download = match saving.wait {
        Some(wait) => request.wait(wait).await?,
        None => request.await?,
    };
    progress.length(download.length());
    Ok(download)
}

fn finish(
    sink: Sink,
    size: u64,
    content_type: Option<&str>,
    filename: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    let Some(path) = sink.finish()? else { return Ok(()) };
    let path = path.display().to_string();
    let object = json!({ "path": path, "size": size, "content_type": content_type, "filename": filename });
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
                output.note(CHANGED);
                download = ask().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((sink, download))
}

async fn decrypt(
    target: Target,
    file: &EncryptedFile,
    output: Output,
    ask: impl AsyncFn() -> Result<Download, Error>,
) -> anyhow::Result<(Sink, u64)> {
    let mut download = ask().await?.decrypt(file)?;
    // The name on the server is not the uploader's: it was not to learn it.
    let mut sink = target.open(None, file.mxc().media_id.as_str())?;
    if !sink.is_hidden() {
        let size = copy(download.into_file().await?, &mut sink).await.map_err(Error::Sink)?;
        return Ok((sink, size));
    }
    for beginning in 1.. {
        match download.copy_unverified_to(&mut sink.writer()).await {
            Ok(_) => break,
            Err(Error::Changed) if beginning < BEGINNINGS && sink.rewind().await? => {
                output.note(CHANGED);
                download = ask().await?.decrypt(file)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((sink, download.position()))
}

async fn copy(verified: std::fs::File, sink: &mut Sink) -> io::Result<u64> {
    let copied = tokio::io::copy(&mut File::from_std(verified), &mut sink.writer()).await?;
    sink.writer().flush().await?;
    Ok(copied)
}
