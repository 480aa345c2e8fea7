//! `tintype config check|default|schema`

use std::process::ExitCode;

use super::ConfigFile;
use crate::config::Config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check a configuration and print every error, each with its key and line.
    Check(ConfigFile),
    /// Print a commented file with every default.
    Default,
    /// Print the JSON schema of the configuration.
    Schema,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(file) => {
            let config = file.load()?;
            for note in config.notes() {
                println!("note: {note}");
            }
            let from =
                file.path().map_or_else(|| "the standalone profile".to_owned(), |path| path.display().to_string());
            println!("{from} is fine");
        }
        Command::Default => print!("{}", Config::default_file()),
        Command::Schema => println!("{:#}", Config::schema()),
    }
    Ok(ExitCode::SUCCESS)
}
