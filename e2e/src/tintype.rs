//! The built server, as an administrator starts it: a configuration file and a command.

use std::{fs, process::ExitStatus};

use crate::{
    folder::Folder,
    port,
    process::Process,
    synapse::{SERVER_NAME, http_client},
    tools,
};

/// A running Tintype with a homeserver.
#[derive(Debug)]
pub struct Tintype {
    process: Process,
    port: u16,
    telemetry: u16,
    // Dropped last: it holds the log and the media.
    _folder: Folder,
}

impl Tintype {
    /// Starts Tintype for the users of the homeserver at `homeserver`, and waits until it is ready.
    pub async fn start(homeserver: &str) -> Self {
        let folder = Folder::new("tintype");
        let (port, telemetry) = (port::free(), port::free());
        let configuration = format!(
            r#"data_dir = "data"

[http]
listen = ["127.0.0.1:{port}"]

[telemetry]
listen = "127.0.0.1:{telemetry}"

[database]
url = "sqlite:tintype.db"

[blobs]
url = "file:media"

[[server]]
name = "{SERVER_NAME}"
homeserver = "{homeserver}"
"#
        );
        fs::write(folder.path().join("tintype.toml"), configuration).expect("a file can be written");
        let mut process =
            Process::start("tintype", tools::tintype(), ["serve", "--config", "tintype.toml"], [], folder.path());
        let http = http_client();
        process
            .wait_until(async || {
                let ready = http.get(format!("http://127.0.0.1:{telemetry}/ready"));
                ready.send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        Self { process, port, telemetry, _folder: folder }
    }

    /// The address it serves media on, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until some download waits for an upload, or reads one that is still arriving.
    pub async fn wait_for_a_download_of_an_upload(&mut self) {
        let metrics = format!("http://127.0.0.1:{}/metrics", self.telemetry);
        let http = http_client();
        self.process
            .wait_until(async || {
                let metrics = http.get(&metrics).send().await.expect("Tintype has metrics");
                let metrics = metrics.text().await.expect("metrics are text");
                ["tintype_downloads_waiting", "tintype_downloads_streaming"].map(|name| gauge(&metrics, name)) != [0, 0]
            })
            .await;
    }

    /// Sends SIGTERM, waits for the end, and returns how it ended.
    pub async fn stop(mut self) -> ExitStatus {
        self.process.stop().await
    }
}

fn gauge(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}
