//! `tintype serve`

use std::{path::Path, process::ExitCode, sync::Arc};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tintype_api::RequestLog;
use tintype_domain::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use super::ConfigFile;
use crate::{
    Address, Server,
    config::{Config, LogFormat, ServerConfig},
    telemetry,
};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.file.load()?;
    let (request_log, _logs) = telemetry::start_logs(&config.telemetry)?;
    for note in config.notes() {
        tracing::warn!("{note}");
    }
    raise_open_files(config.http.max_connections.get());
    // Connections have threads of their own; this runtime has the writer of the records and the accepting.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&config, arguments.file.path(), request_log))?;
    Ok(ExitCode::SUCCESS)
}

/// Lets this process open as many files as it may. Every connection is one, and most services start with a limit of 1024
/// that is only there for programs that use `select`.
fn raise_open_files(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    if let Some(files) = limit.maximum.filter(|files| *files <= max_connections as u64) {
        tracing::warn!("only {files} files can be open at once: too few for http.max_connections = {max_connections}");
    }
}

async fn serve(config: &Config, file: Option<&Path>, request_log: Option<RequestLog>) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Server::start(config, Arc::new(SystemClock), request_log).await?;
    for address in server.addresses() {
        tracing::info!(%address, "listening");
    }
    // Whoever reads JSON is no person who wants to try it.
    if config.telemetry.log_format == LogFormat::Text && config.server.iter().any(ServerConfig::owns_name) {
        eprint!("{}", welcome(&server, config, file));
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: finishing what is under way"),
        _ = interrupt.recv() => tracing::info!("SIGINT: finishing what is under way"),
    }
    server.drain().await;
    tracing::info!("stopped");
    Ok(())
}

/// What a person sees who started the server to try it.
fn welcome(server: &Server, config: &Config, file: Option<&Path>) -> String {
    let Some(owned) = config.server.iter().find(|server| server.owns_name()) else { return String::new() };
    let base = server.addresses().iter().find_map(Address::url).unwrap_or_default();
    let program = std::env::args().next().unwrap_or_else(|| "tintype".to_owned());
    let flag = file.map(|file| format!(" --config {}", file.display())).unwrap_or_default();
    let name = &owned.name;
    format!(
        "
Tintype serves the media of {name} at {base}

Try it:
  TOKEN=$({program} token alice{flag})
  MXC=$(curl -sS -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: image/jpeg' \\
      --data-binary @photo.jpg '{base}/_matrix/media/v3/upload?filename=photo.jpg' \\
      | sed 's|.*mxc://\\([^\"]*\\).*|\\1|')
  curl -sS -H \"Authorization: Bearer $TOKEN\" -o copy.jpg {base}/_matrix/client/v1/media/download/$MXC

"
    )
}
