//! Synapse with its own media repository, as an admin gets it from PyPI: the generated configuration, with every
//! rate limit out of the way and SQLite instead of PostgreSQL.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Federation, Launch, Programs};
use crate::connection::Connection;

pub(super) fn set_up(
    programs: &Programs,
    folder: &Path,
    address: SocketAddr,
    federation: Option<Federation<'_>>,
) -> Result<Launch> {
    let name = federation.map_or_else(|| "localhost".to_owned(), |federation| federation.name());
    let generated = folder.join("homeserver.yaml");
    let output = Command::new(&programs.synapse_python)
        .current_dir(folder)
        .args(["-m", "synapse.app.homeserver", "--server-name", &name, "--generate-config"])
        .args(["--report-stats", "no", "--config-path"])
        .arg(&generated)
        .output()
        .with_context(|| format!("starting {}", programs.synapse_python.display()))?;
    ensure!(output.status.success(), "generating Synapse's configuration: {}", String::from_utf8_lossy(&output.stderr));

    let ours = folder.join("bench.yaml");
    fs::write(&ours, configuration(folder, address, federation))?;
    let arguments = vec![
        "-m".into(),
        "synapse.app.homeserver".into(),
        "--config-path".into(),
        generated.into(),
        "--config-path".into(),
        ours.into(),
    ];
    Ok(Launch {
        program: programs.synapse_python.clone().into(),
        arguments,
        answers: "/_matrix/client/versions",
        telemetry: None,
    })
}

/// `thumbnail_sizes` is empty so that uploads make none and a request has to: else the request measured would only
/// read a file that the upload made.
fn configuration(folder: &Path, address: SocketAddr, federation: Option<Federation<'_>>) -> String {
    let folder = folder.display();
    let (mut with_tls, mut federating) = (String::new(), String::new());
    if let Some(federation) = federation {
        let certificate = federation.certificate.file();
        with_tls = format!(
            "
  - port: {port}
    type: http
    tls: true
    bind_addresses: ['{ip}']
    resources: [{{ names: [federation] }}]",
            port = federation.listens.port(),
            ip = federation.listens.ip(),
        );
        federating = format!(
            "tls_certificate_path: {certificate}
tls_private_key_path: {key}
federation_custom_ca_list: [{certificate}]
federation_ip_range_blacklist: []
ip_range_blacklist: []
remote_media_download_burst_count: 1000G
remote_media_download_per_second: 10G
",
            certificate = certificate.display(),
            key = federation.certificate.private_key_file().display(),
        );
    }
    format!(
        "listeners:
  - port: {port}
    type: http
    bind_addresses: ['{ip}']
    resources: [{{ names: [client, media] }}]{with_tls}
database: {{ name: sqlite3, args: {{ database: {folder}/homeserver.db }} }}
media_store_path: {folder}/media_store
max_upload_size: 2G
max_image_pixels: 64M
thumbnail_sizes: []
dynamic_thumbnails: true
enable_registration: true
enable_registration_without_verification: true
suppress_key_server_warning: true
trusted_key_servers: []
presence: {{ enabled: false }}
rc_registration: {{ per_second: 10000, burst_count: 10000 }}
rc_media_create: {{ per_second: 10000, burst_count: 10000 }}
max_pending_media_uploads: 10000
{federating}",
        port = address.port(),
        ip = address.ip(),
    )
}

pub(super) fn token(address: SocketAddr, user: &str) -> Result<String> {
    let body = serde_json::json!({
        "username": user, "password": "bench-bench", "auth": { "type": "m.login.dummy" },
    })
    .to_string();
    let mut connection = Connection::open(address)?;
    connection.send(
        format!(
            "POST /_matrix/client/v3/register HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )?;
    let head = connection.expect_status(200)?;
    let answer: serde_json::Value = serde_json::from_slice(&connection.body(head)?)?;
    Ok(answer["access_token"].as_str().context("Synapse gave no access token")?.to_owned())
}
