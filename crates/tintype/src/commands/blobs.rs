//! `tintype blobs move`: the bytes go to another store. `tintype blobs check`: which of them are damaged.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _, stderr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tintype_domain::OsRandomness;
use tintype_repository::{Relocated, Relocation};
use tintype_storage::{
    blobs::BlobsError,
    records::{Damage, DamagedBlob, KeptBlobs},
};

use super::{ConfigFile, block_on};
use crate::{
    config::{BlobsUrl, Config},
    wiring,
};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often the bar of a terminal is drawn.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Characters of a bar.
const BAR: u64 = 30;

const MIB: u64 = 1024 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Move all bytes from [blobs] fallback to [blobs] url, while the server serves. What was cut is gone on with by the same
    /// command.
    Move(Arguments),
    /// Print the media whose bytes were found to be damaged or missing, and end with 1 if there is any.
    Check(Check),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where they are, "file:path" or "s3://bucket/prefix": the fallback of the configuration.
    #[arg(long, value_name = "URL")]
    from: Option<BlobsUrl>,
    /// Where they go: the url of the configuration.
    #[arg(long, value_name = "URL")]
    to: Option<BlobsUrl>,
    /// Print how far it is as lines of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Move(arguments) => run_move(arguments),
        Command::Check(arguments) => run_check(arguments),
    }
}

fn run_check(arguments: &Check) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    let damages = block_on(async {
        let records = wiring::records(&config).await?;
        let damages = records.damages().await?;
        records.close().await;
        Ok(damages)
    })?;
    if arguments.json {
        println!("{:#}", damages.iter().map(damage_as_json).collect::<Value>());
    } else if damages.is_empty() {
        println!("no media is known to be damaged");
    }
    for damaged in damages.iter().filter(|_| !arguments.json) {
        let media = damaged.media.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        println!("{}  {}  {media}", name_of(damaged.damage), damaged.location.as_str());
    }
    Ok(if damages.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn name_of(damage: Damage) -> &'static str {
    match damage {
        Damage::Changed => "damaged",
        Damage::Missing => "missing",
    }
}

fn damage_as_json(damaged: &DamagedBlob) -> Value {
    json!({
        "damage": name_of(damaged.damage), "location": damaged.location.as_str(), "bytes": damaged.size,
        "found_at": damaged.found_at.as_millis(),
        "media": damaged.media.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn run_move(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    let Some(old) = &config.blobs.fallback else {
        bail!(
            "[blobs] has no fallback. Set url to the new store and fallback to the old one, and start the server with that: \
             it has to know both before anything moves"
        );
    };
    for (given, configured, key) in [(&arguments.from, old, "fallback"), (&arguments.to, &config.blobs.url, "url")] {
        if let Some(given) = given
            && given != configured
        {
            bail!(
                "[blobs] {key} is {configured}, not {given}: the server has to know both stores before anything moves"
            );
        }
    }
    let relocated = block_on(relocate(&config, arguments.json))?;
    Ok(if relocated.damaged.is_empty() && relocated.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn relocate(config: &Config, as_json: bool) -> anyhow::Result<Relocated> {
    let moving = match wiring::moving_beside(config, &(Arc::new(OsRandomness) as _)) {
        Ok(Some(moving)) => moving,
        Ok(None) => bail!("[blobs] has no fallback"),
        Err(BlobsError::InUse(path)) => {
            bail!("a server has {} as its [blobs] url: start it with the new configuration first", path.display())
        }
        Err(error) => return Err(error).context("a store cannot be opened"),
    };
    let records = wiring::records(config).await?;
    let mut shown = Shown::new(as_json);
    let relocated = Relocation::new(records.clone(), moving).run(|relocated| shown.show(relocated)).await;
    shown.end();
    let relocated = relocated?;
    let owed = records.owed_removals().await?.0;
    records.close().await;
    print!("{}", report(config, &relocated, owed, as_json));
    Ok(relocated)
}

fn report(config: &Config, relocated: &Relocated, owed: u64, as_json: bool) -> String {
    let Relocated { moved, damaged, missing, .. } = relocated;
    if as_json {
        let names = |locations: &[tintype_storage::blobs::Location]| {
            locations.iter().map(|location| Value::from(location.as_str())).collect::<Value>()
        };
        let mut line = line_of(relocated);
        line["finished"] = true.into();
        line["damaged"] = names(damaged);
        line["missing"] = names(missing);
        line["removals_pending"] = owed.into();
        return format!("{line}\n");
    }
    let (new, old) = (&config.blobs.url, config.blobs.fallback.as_ref().map(ToString::to_string).unwrap_or_default());
    let mut text = format!("{} blobs, {} MiB, were moved to {new}\n", moved.blobs, moved.bytes / MIB);
    for location in damaged {
        let _ = writeln!(text, "damaged, left in {old}: {}", location.as_str());
    }
    for location in missing {
        let _ = writeln!(text, "missing, in neither store: {}", location.as_str());
    }
    text.push_str(match (damaged.is_empty(), owed) {
        (false, _) => "Keep [blobs] fallback for as long as the damaged ones are to be served.\n",
        (true, 0) => "Next: take [blobs] fallback away, and start the server again. Then the old store can go.\n",
        (true, _) => {
            "Files of deleted media are still to be removed from both stores: see `tintype doctor`. Take [blobs] fallback \
             away when none is left.\n"
        }
    });
    text
}

fn line_of(relocated: &Relocated) -> Value {
    let Relocated { all, done, moved, damaged, missing } = relocated;
    json!({
        "blobs": all.blobs, "bytes": all.bytes, "done_blobs": done.blobs, "done_bytes": done.bytes,
        "moved_blobs": moved.blobs, "moved_bytes": moved.bytes, "damaged": damaged.len(), "missing": missing.len(),
    })
}

/// How far it is: a bar on a terminal, lines elsewhere.
struct Shown {
    as_json: bool,
    on_terminal: bool,
    last: Option<Instant>,
}

impl Shown {
    fn new(as_json: bool) -> Self {
        Self { as_json, on_terminal: !as_json && stderr().is_terminal(), last: None }
    }

    fn show(&mut self, relocated: &Relocated) {
        let every = if self.on_terminal { BAR_EVERY } else { LINE_EVERY };
        if self.last.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        let Relocated { all, done, .. } = relocated;
        if self.as_json {
            println!("{}", line_of(relocated));
        } else if self.on_terminal {
            // Erases what is left of a longer line (ECMA-48, EL). A terminal that has gone is no reason to stop.
            let _ = write!(stderr(), "\r{} {}\x1b[K", bar(*all, *done), counted(*all, *done));
        } else {
            let _ = writeln!(stderr(), "{}", counted(*all, *done));
        }
    }

    fn end(&self) {
        if self.on_terminal && self.last.is_some() {
            eprintln!();
        }
    }
}

fn bar(all: KeptBlobs, done: KeptBlobs) -> String {
    let full = (done.bytes.min(all.bytes) * BAR).checked_div(all.bytes).unwrap_or(BAR);
    let (full, empty) = ("=".repeat(usize::try_from(full).unwrap_or(0)), usize::try_from(BAR - full).unwrap_or(0));
    format!("[{full}{}]", " ".repeat(empty))
}

fn counted(all: KeptBlobs, done: KeptBlobs) -> String {
    // What was uploaded meanwhile is in the new store, and is looked at, too.
    let (blobs, bytes) = (all.blobs.max(done.blobs), all.bytes.max(done.bytes));
    format!("{} of {blobs} blobs, {} of {} MiB", done.blobs, done.bytes / MIB, bytes / MIB)
}
