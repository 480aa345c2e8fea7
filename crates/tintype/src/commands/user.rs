//! `tintype user erase USER`: all that a user uploaded goes.

use std::{fmt::Write as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::json;
use tintype_domain::{Clock as _, OsRandomness, SystemClock, UserId};
use tintype_repository::erase_alone;
use tintype_storage::{blobs::BlobsError, records::Erasure};
use tokio::time::sleep;

use super::{ConfigFile, block_on};
use crate::{config::Config, wiring};

/// How often it is looked whether the server has done it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Delete everything that a user of this server uploaded, for good, and print what went. Works while the server runs
    /// and while it does not.
    Erase(Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The whole ID of the user, such as `@alice:example.org`.
    user: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Erase(arguments) = command;
    let config = arguments.file.load()?;
    let user = UserId::parse(&arguments.user).context("this is not a user ID, such as @alice:example.org")?;
    if !config.server.iter().any(|server| server.name == user.server_name()) {
        bail!("{} is not served here", user.server_name());
    }
    let erasure = block_on(erase(&config, &user))?;
    print!("{}", report(&user, &erasure, arguments.json));
    Ok(ExitCode::SUCCESS)
}

/// Asks for it, and has the server do it that runs; where none runs, or none any more, does it.
async fn erase(config: &Config, user: &UserId) -> anyhow::Result<Erasure> {
    let records = wiring::records(config).await?;
    records.request_erasure(user.to_owned(), SystemClock.now()).await?;
    let erasure = loop {
        match wiring::blobs_alone(config, &(Arc::new(OsRandomness) as _)) {
            Ok(blobs) => break erase_alone(&records, &blobs, user, &SystemClock).await?,
            Err(BlobsError::InUse(_)) => {}
            Err(error) => bail!("{} cannot be opened: {error}", config.blobs.url),
        }
        if let Some(done) = records.find_erasure(user).await?.filter(|erasure| erasure.finished_at.is_some()) {
            break done;
        }
        sleep(LOOK_EVERY).await;
    };
    records.close().await;
    Ok(erasure)
}

fn report(user: &UserId, erasure: &Erasure, as_json: bool) -> String {
    let Erasure { media, bytes, ephemeral, restricted, reserved, shared, shared_bytes, .. } = erasure;
    if as_json {
        let report = json!({
            "user_id": user, "media": media, "bytes": bytes, "ephemeral": ephemeral, "restricted": restricted,
            "reserved": reserved, "shared": shared, "shared_bytes": shared_bytes,
        });
        return format!("{report:#}\n");
    }
    let mut text = format!("Erased {user}\n\n");
    let mut line = |what: &str, count: u64, more: &str| {
        writeln!(text, "{what:28}{count:>12}{more}").expect("writing to a String cannot fail");
    };
    line("pieces of media", *media, &format!("  {bytes} bytes"));
    line("  ephemeral among them", *ephemeral, "");
    line("  restricted among them", *restricted, "");
    line("  with bytes that others have", *shared, &format!("  {shared_bytes} bytes, which stay with them"));
    line("reserved URIs", *reserved, "");
    text
}
