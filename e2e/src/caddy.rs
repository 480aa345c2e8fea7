//! Caddy with the file of `deploy/caddy/`, its addresses replaced.

use std::{ffi::OsString, fs};

use crate::{folder::Folder, port, process::Process, tools};

/// A running Caddy on a free port.
#[derive(Debug)]
pub struct Caddy {
    _process: Process,
    _folder: Folder,
    port: u16,
}

impl Caddy {
    /// Starts Caddy in front of a media server at `media` and a homeserver at `homeserver`, each `HOST:PORT`.
    pub async fn start(media: &str, homeserver: &str) -> Self {
        Self::start_edited(media, homeserver, |deployed| deployed).await
    }

    /// Starts Caddy likewise, with the lines for linked media.
    pub async fn start_linked(media: &str, homeserver: &str) -> Self {
        let lines = ["@", "handle", "\t", "}"].map(|beginning| (format!("\t# {beginning}"), format!("\t{beginning}")));
        let with_lines = |mut deployed: String| {
            for (commented, line) in &lines {
                assert!(deployed.contains(commented), "the Caddyfile has no {commented:?}");
                deployed = deployed.replace(commented, line);
            }
            deployed
        };
        Self::start_edited(media, homeserver, with_lines).await
    }

    async fn start_edited(media: &str, homeserver: &str, edited: impl FnOnce(String) -> String) -> Self {
        let folder = Folder::new("caddy");
        let port = port::free();
        let deployed =
            fs::read_to_string(tools::workspace().join("deploy/caddy/Caddyfile")).expect("the Caddyfile is there");
        let mut configuration = edited(deployed);
        // Plain HTTP on the loopback address only: a host name would make Caddy ask for a certificate.
        let site = format!("http://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n");
        for (written, replacement) in
            [("matrix.example.org {\n", site.as_str()), ("127.0.0.1:8090", media), ("127.0.0.1:8008", homeserver)]
        {
            assert!(configuration.contains(written), "the Caddyfile has no {written}");
            configuration = configuration.replace(written, replacement);
        }
        // Its control port would be a fixed one.
        let configuration = format!("{{\n\tadmin off\n}}\n{configuration}");
        fs::write(folder.path().join("Caddyfile"), configuration).expect("a file can be written");
        let home = || OsString::from(folder.path());
        let mut process = Process::start(
            "caddy",
            tools::caddy(),
            ["run", "--config", "Caddyfile", "--adapter", "caddyfile"],
            [("HOME", home()), ("XDG_DATA_HOME", home()), ("XDG_CONFIG_HOME", home())],
            folder.path(),
        );
        process.wait_for_port(port).await;
        Self { _process: process, _folder: folder, port }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}
