//! nginx as the fastest way to send a file that people run: Debian's defaults (sendfile, tcp_nopush, an access log),
//! with connections that may stay open for the whole run.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Launch, Programs, Stored};

/// `user root` only counts when it is started by root, and then lets the workers read the folder, which is private.
pub(super) fn set_up(programs: &Programs, folder: &Path, address: SocketAddr) -> Result<Launch> {
    let root = folder.join("files");
    fs::create_dir(&root)?;
    fs::write(root.join("index.html"), "")?;
    let folder = folder.display();
    let configuration = format!(
        "daemon off;
user root;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types {{ }}
    default_type application/octet-stream;
    access_log {folder}/access.log;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {address}; root {folder}/files; }}
}}
"
    );
    let file = format!("{folder}/nginx.conf");
    fs::write(&file, configuration)?;
    let arguments = vec!["-e".into(), format!("{folder}/error.log").into(), "-c".into(), file.into()];
    Ok(Launch { program: programs.nginx.clone().into(), arguments, answers: "/index.html", telemetry: None })
}

/// Has it answer a path as a homeserver might.
pub(super) fn answer(folder: &Path, path: &str, body: &[u8]) -> Result<()> {
    let file = folder.join("files").join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().context("a path has a folder")?)?;
    fs::write(file, body)?;
    Ok(())
}

pub(super) fn store(folder: &Path, bytes: &[u8]) -> Result<Stored> {
    let root = folder.join("files");
    let name = format!("{}.bin", fs::read_dir(&root)?.count());
    fs::write(root.join(&name), bytes)?;
    Ok(Stored { path: format!("/{name}"), thumbnail_path: String::new(), length: bytes.len() as u64 })
}
