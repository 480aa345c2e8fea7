//! `tintype migrate`

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use tintype_domain::OsRandomness;
use tintype_storage::{
    blobs::BlobsError,
    records::{Move, MoveProgress},
};

use super::{ConfigFile, block_on};
use crate::{
    config::{Config, DatabaseUrl},
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Move the records from this database, "sqlite:path", instead. The server must not run.
    #[arg(long, value_name = "URL", requires = "to")]
    from: Option<DatabaseUrl>,
    /// Where they are moved to: "postgres://user@host/database". What was cut is gone on with by the same command.
    #[arg(long, value_name = "URL", requires = "from")]
    to: Option<DatabaseUrl>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    if let (Some(from), Some(to)) = (&arguments.from, &arguments.to) {
        block_on(move_records(&config, from, to))?;
    } else {
        block_on(async {
            // Opening applies the migrations.
            wiring::records(&config).await?.close().await;
            Ok(())
        })?;
        println!("the database is up to date");
    }
    Ok(ExitCode::SUCCESS)
}

async fn move_records(config: &Config, from: &DatabaseUrl, to: &DatabaseUrl) -> anyhow::Result<()> {
    let (DatabaseUrl::Sqlite(source), DatabaseUrl::Postgres(target)) = (from, to) else {
        bail!("records are moved from \"sqlite:\" to \"postgres://\", and not from {from} to {to}");
    };
    let source = config.resolve(source);
    // It would be made, and moved with nothing in it.
    source.metadata().with_context(|| format!("there is no database {}", source.display()))?;
    let blobs = match wiring::blobs_alone(config, &(Arc::new(OsRandomness) as _)) {
        Ok(blobs) => blobs,
        Err(BlobsError::InUse(path)) => bail!("a server runs on {}: stop it first", path.display()),
        Err(error) => bail!("{} cannot be opened: {error}", config.blobs.url),
    };
    let mut moving = Move::begin(&source, &wiring::postgres(config, target)).await?;
    let mut line = Line::default();
    moving.copy(&blobs, |progress| line.show(progress)).await?;
    line.end();
    let rows = moving.verify().await?;
    moving.finish().await?;
    println!("{rows} rows are in {target} as they are in {}; every table was compared", source.display());
    println!("Next: set [database] url to the new database, and start the server. Keep the old file until it runs.");
    Ok(())
}

/// How far it is, in one line of a terminal; nothing elsewhere.
#[derive(Default)]
struct Line {
    is_shown: bool,
}

impl Line {
    fn show(&mut self, progress: MoveProgress<'_>) {
        let mut terminal = stderr();
        if terminal.is_terminal() && progress.rows > 0 {
            let MoveProgress { table, moved, rows } = progress;
            // Erases what is left of a longer line (ECMA-48, EL). A terminal that has gone is no reason to stop.
            let _ = write!(terminal, "\r{table}: {moved} of {rows}\x1b[K");
            self.is_shown = true;
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprintln!();
        }
    }
}
