//! `tintype migrate`

use std::process::ExitCode;

use super::{ConfigFile, block_on};
use crate::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    block_on(async {
        // Opening applies the migrations.
        wiring::records(&config).await?.close().await;
        Ok(())
    })?;
    println!("the database is up to date");
    Ok(ExitCode::SUCCESS)
}
