//! The commands, one per file.

mod copy;
mod create;
mod download;
mod fetch;
mod put;
mod rm;
mod thumbnail;
mod upload;

use clap::{CommandFactory as _, error::ErrorKind};

use crate::arguments::{Arguments, Command, Saving};

/// Runs the command.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let output = arguments.output();
    let Arguments { connection, json, command } = arguments;
    if json && saving(&command).is_some_and(Saving::to_stdout) {
        let error = "standard output cannot hold both the media and JSON: give --output FILE with --json";
        Arguments::command().error(ErrorKind::ArgumentConflict, error).exit();
    }
    let client = connection.client()?;
    match command {
        Command::Upload(arguments) => upload::run(&client, arguments, output).await,
        Command::Copy(arguments) => copy::run(&client, &arguments, output).await,
        Command::Create(arguments) => create::run(&client, &arguments, output).await,
        Command::Put(arguments) => put::run(&client, arguments, output).await,
        Command::Download(arguments) => download::run(&client, &arguments, output).await,
        Command::Thumbnail(arguments) => thumbnail::run(&client, &arguments, output).await,
        Command::Rm(arguments) => rm::run(&client, &arguments, output).await,
    }
}

fn saving(command: &Command) -> Option<&Saving> {
    match command {
        Command::Download(arguments) => Some(&arguments.saving),
        Command::Thumbnail(arguments) => Some(&arguments.saving),
        Command::Upload(_) | Command::Create(_) | Command::Put(_) | Command::Copy(_) | Command::Rm(_) => None,
    }
}
