//! Tintype in its standalone profile: SQLite and a folder, accounts of its own, and limits that load does not reach.
//! Everything else is the default, the request log included.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Federation, Launch, Programs, Stores, free_address};

pub(super) fn set_up(
    programs: &Programs,
    folder: &Path,
    address: SocketAddr,
    federation: Option<Federation<'_>>,
    homeserver: Option<SocketAddr>,
) -> Result<Launch> {
    let file = folder.join("tintype.toml");
    let telemetry = free_address()?;
    fs::write(&file, configuration(folder, address, telemetry, federation, homeserver))?;
    let arguments = vec!["serve".into(), "--config".into(), file.into()];
    Ok(Launch {
        program: programs.tintype.clone().into(),
        arguments,
        answers: "/_matrix/client/versions",
        telemetry: Some(telemetry),
    })
}

/// A node of several.
pub(super) fn set_up_node(programs: &Programs, folder: &Path, address: SocketAddr, stores: &Stores) -> Result<Launch> {
    let launch = set_up(programs, folder, address, None, None)?;
    let file = folder.join("tintype.toml");
    let alone = fs::read_to_string(&file)?;
    let cluster = free_address()?;
    fs::write(&file, format!("{alone}{}{}", stores.configuration(), in_cluster(cluster)))?;
    Ok(launch)
}

fn in_cluster(address: SocketAddr) -> String {
    format!(
        "
[cluster]
listen = \"{address}\"
advertise = \"http://{address}\"
secret = \"what the nodes of a benchmark know\"
"
    )
}

fn configuration(
    folder: &Path,
    address: SocketAddr,
    telemetry: SocketAddr,
    federation: Option<Federation<'_>>,
    homeserver: Option<SocketAddr>,
) -> String {
    let (mut name, mut with_tls, mut federating) = ("localhost".to_owned(), String::new(), String::new());
    if let Some(federation) = federation {
        let certificate = federation.certificate.file();
        name = federation.name();
        with_tls = format!(
            "tls_listen = [\"{}\"]\ntls_certificate_file = \"{}\"\ntls_private_key_file = \"{}\"\n",
            federation.listens,
            certificate.display(),
            federation.certificate.private_key_file().display(),
        );
        federating = format!(
            "\n[federation]\nallow_addresses = [\"127.0.0.0/8\", \"::1/128\"]\nextra_ca_files = [\"{}\"]\n",
            certificate.display()
        );
    }
    let in_front_of = homeserver
        .map_or_else(String::new, |homeserver| format!("homeserver = \"http://{homeserver}\"\npass_through = true\n"));
    format!(
        "data_dir = \"{}/data\"

[http]
listen = [\"{address}\"]
{with_tls}
[telemetry]
listen = \"{telemetry}\"

[[server]]
name = \"{name}\"
{in_front_of}
[limits]
max_upload_size = \"2GiB\"
max_remote_size = \"2GiB\"
max_pending_uploads = 10000

[limits.rates]
upload = {{ per_second = 1000000, burst = 1000000 }}
download = {{ per_second = 1000000, burst = 1000000 }}
thumbnail = {{ per_second = 1000000, burst = 1000000 }}
create = {{ per_second = 1000000, burst = 1000000 }}
authenticate = {{ per_second = 1000000, burst = 1000000 }}
{federating}",
        folder.display()
    )
}

pub(super) fn token(program: &Path, folder: &Path, user: &str) -> Result<String> {
    let output = Command::new(program)
        .args(["token", user, "--config"])
        .arg(folder.join("tintype.toml"))
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "tintype token: {}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(!token.is_empty() && !token.contains(char::is_whitespace), "tintype token printed {token:?}");
    Ok(token)
}
