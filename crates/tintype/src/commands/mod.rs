//! The commands, one per file.

mod appservice;
mod blobs;
mod config;
mod doctor;
mod legacy;
mod migrate;
mod serve;
mod token;
mod user;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::Config;

/// The file that is read if none is named and it is there.
const DEFAULT_FILE: &str = "tintype.toml";

/// A Matrix content repository.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, then finish what is under way (the default).
    Serve(serve::Arguments),
    /// Print an access token for a user of this server (for servers without a homeserver).
    Token(token::Arguments),
    /// Tell a homeserver of this server.
    #[command(subcommand)]
    Appservice(appservice::Command),
    /// Check or print the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// See what a freeze of the old endpoints, which ask for no access token, would break.
    #[command(subcommand)]
    Legacy(legacy::Command),
    /// Delete everything that a user uploaded.
    #[command(subcommand)]
    User(user::Command),
    /// Move the bytes to another store, or see which are damaged.
    #[command(subcommand)]
    Blobs(blobs::Command),
    /// Bring the database up to date.
    Migrate(migrate::Arguments),
    /// Try everything that the server depends on.
    Doctor(doctor::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Default, clap::Args)]
struct ConfigFile {
    /// The configuration file. Without it: ./tintype.toml if there is one, else the standalone profile.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// What the person at the terminal needs to know.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command.unwrap_or(Command::Serve(serve::Arguments::default())) {
            Command::Serve(arguments) => serve::run(&arguments),
            Command::Token(arguments) => token::run(&arguments),
            Command::Appservice(command) => appservice::run(&command),
            Command::Config(command) => config::run(&command),
            Command::Legacy(command) => legacy::run(&command),
            Command::User(command) => user::run(&command),
            Command::Blobs(command) => blobs::run(&command),
            Command::Migrate(arguments) => migrate::run(&arguments),
            Command::Doctor(arguments) => doctor::run(&arguments),
        }
    }
}

impl ConfigFile {
    fn path(&self) -> Option<&Path> {
        self.config.as_deref().or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()))
    }

    fn load(&self) -> anyhow::Result<Config> {
        let environment =
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Config::load(self.path(), environment)
            .map_err(|errors| anyhow::anyhow!("{errors}"))
            .context("the configuration has errors")
    }
}

/// Runs asynchronous work on one thread: for everything but serving.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
