//! `cargo xtask conformance msc4425`: one line for each check, and 1 as exit code if one fails.

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use reqwest::Url;
use tintype_conformance::{Day, Names, OwnServer, Report, Target, Tokens};
use tintype_domain::{OsRandomness, OwnedServerName};
use tintype_federation::SigningKey;

/// A day, and what the clocks of two machines may differ.
const DAY: Duration = Duration::from_mins(24 * 60 + 5);

/// Checks a Matrix server from outside against a proposal.
#[derive(Parser)]
#[command(bin_name = "cargo xtask conformance")]
struct Options {
    #[command(subcommand)]
    proposal: Proposal,
}

#[derive(Subcommand)]
enum Proposal {
    /// Ephemeral media.
    Msc4425(Box<Msc4425>),
}

#[derive(Args)]
struct Msc4425 {
    /// Where clients of the server under test go, such as https://matrix.example.org.
    #[arg(long)]
    server: Url,
    /// An access token of a user of it, who uploads and deletes.
    #[arg(long)]
    token: String,
    /// One of another user.
    #[arg(long)]
    second_token: Option<String>,
    /// One of a guest.
    #[arg(long)]
    guest_token: Option<String>,
    /// Asks under the stable names too.
    #[arg(long)]
    stable: bool,
    /// Where other servers go, such as https://matrix.example.org:8448.
    #[arg(long, requires = "name")]
    federation: Option<Url>,
    /// The name of the server that this program is meanwhile. The server under test has to find it.
    #[arg(long, requires_all = ["listen", "certificate", "key"])]
    name: Option<OwnedServerName>,
    /// Where that server listens, with TLS.
    #[arg(long, requires = "name")]
    listen: Option<SocketAddr>,
    /// A PEM file with the certificates of that name.
    #[arg(long, requires = "name")]
    certificate: Option<PathBuf>,
    /// A PEM file with their private key.
    #[arg(long, requires = "name")]
    key: Option<PathBuf>,
    /// A file with the key that it signs with; it is made if there is none. Without it there is a new key each time.
    #[arg(long, requires = "name")]
    signing_key: Option<PathBuf>,
    /// A PEM file with authorities that are trusted beside the system's. May be repeated.
    #[arg(long)]
    authority: Vec<PathBuf>,
    /// Waits for 24 hours, to see what the server under test still keeps.
    #[arg(long, requires = "name")]
    day: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Proposal::Msc4425(options) = Options::parse().proposal;
    let json = options.json;
    match check(*options).await {
        Ok(report) => {
            print(&report, json);
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn check(options: Msc4425) -> Result<Report> {
    let own = own_server(&options)?;
    let authorities = options.authority.iter().map(read).collect::<Result<_>>()?;
    let tokens = Tokens { first: options.token, second: options.second_token, guest: options.guest_token };
    let target = Target { server: options.server, federation: options.federation, tokens, authorities };
    let names = if options.stable { &[Names::Unstable, Names::Stable][..] } else { &[Names::Unstable] };
    let day = if options.day { Day::Awaited(Box::pin(tokio::time::sleep(DAY))) } else { Day::NotAwaited };
    tintype_conformance::run(target, own, names, day).await
}

fn own_server(options: &Msc4425) -> Result<Option<OwnServer>> {
    let (Some(name), Some(listen), Some(certificate), Some(key)) =
        (&options.name, options.listen, &options.certificate, &options.key)
    else {
        return Ok(None);
    };
    let signing_key = match &options.signing_key {
        Some(file) => SigningKey::load_or_create(file, &OsRandomness)?,
        None => SigningKey::random(&OsRandomness)?,
    };
    let (certificate, private_key) = (read(certificate)?, read(key)?);
    Ok(Some(OwnServer { name: name.clone(), listen, certificate, private_key, signing_key }))
}

fn read(file: &PathBuf) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

fn print(report: &Report, as_json: bool) {
    if as_json {
        println!("{:#}", report.json());
        return;
    }
    for line in report.lines() {
        println!("{line}");
    }
    let (all, failed, skipped) = (report.lines().len(), report.failed().len(), report.skipped().len());
    println!("{} passed, {failed} failed, {skipped} skipped", all - failed - skipped);
}
