//! One photograph up and down again through a real client's own calls; the scripts are in `e2e/clients/`.

use std::{ffi::OsString, fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{folder::Folder, picture, synapse::User, tools};

/// A client that people use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// matrix-nio (Python), which bots use.
    Nio,
    /// mautrix-python, which bridges use.
    Mautrix,
    /// matrix-js-sdk, which Element Web uses.
    JsSdk,
}

/// What came back.
#[derive(Debug)]
pub struct RoundTrip {
    /// The URI the upload was given.
    pub content_uri: String,
    /// The content type of the download.
    pub content_type: String,
    /// The file name of the download as the client understood it.
    pub filename: String,
    /// The content type of the thumbnail.
    pub thumbnail_content_type: String,
    /// The width and height of the thumbnail, in pixels.
    pub thumbnail_size: (u16, u16),
}

/// Logs `user` in at `base_url`, uploads the photograph of [`picture`], downloads it again (its bytes are compared) and
/// fetches a thumbnail of 320 by 240.
pub async fn round_trip(client: Client, base_url: &str, user: &User) -> RoundTrip {
    let folder = Folder::new("client");
    let photograph = picture::write_photograph(folder.path());
    let scripts = tools::workspace().join("e2e/clients");
    let (program, script): (PathBuf, &str) = match client {
        Client::Nio => (tools::client_python(), "python/nio_roundtrip.py"),
        Client::Mautrix => (tools::client_python(), "python/mautrix_roundtrip.py"),
        Client::JsSdk => (tools::node(), "js/roundtrip.mjs"),
    };
    let mut command = Command::new(program);
    command
        .arg(scripts.join(script))
        .args([base_url, &user.localpart, &user.password].map(OsString::from))
        .arg(photograph)
        .arg(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CLIENT_PACKAGES", tools::client_packages());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("running a command does not panic")
        .expect("the client can be started");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{client:?} failed:\n{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let last = printed.lines().last().unwrap_or_default();
    let labels: Value = serde_json::from_str(last).expect("the last line is JSON");
    let label = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    let thumbnail = fs::read(folder.path().join("thumbnail")).expect("the client keeps the thumbnail");
    RoundTrip {
        content_uri: label("content_uri"),
        content_type: label("content_type"),
        filename: label("filename"),
        thumbnail_content_type: label("thumbnail_content_type"),
        thumbnail_size: picture::size_of_jpeg(&thumbnail),
    }
}
