//! An installation in a folder of its own, which outlives its servers.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::Server;

/// The server's binary.
const BINARY: &str = env!("CARGO_BIN_EXE_tintype");

pub struct Installation {
    folder: TempDir,
}

impl Installation {
    /// An installation with these keys (`http.header_timeout = "2s"`) beside what every test needs.
    pub fn new(keys: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let installation = Self { folder };
        installation.write_config("tintype.toml", "telemetry.sock", keys);
        installation
    }

    /// A configuration file for the same data. Two servers cannot share a telemetry socket.
    pub fn write_config(&self, name: &str, telemetry: &str, keys: &str) -> PathBuf {
        let unlimited = "{ per_second = 1000000, burst = 1000000 }";
        let text = format!(
            "data_dir = \"{}\"\n\
             http.listen = [\"127.0.0.1:0\"]\n\
             telemetry.listen = \"unix:{}\"\n\
             limits.rates = {{ upload = {unlimited}, ephemeral = {unlimited}, download = {unlimited}, \
             authenticate = {unlimited} }}\n\
             {keys}\n",
            self.data_dir().display(),
            self.folder.path().join(telemetry).display(),
        );
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the configuration can be written");
        path
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("tintype.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn media_dir(&self) -> PathBuf {
        self.data_dir().join("media")
    }

    pub fn telemetry(&self) -> PathBuf {
        self.folder.path().join("telemetry.sock")
    }

    /// Starts the server and waits until it listens.
    pub fn start(&self) -> Server {
        Server::start(self, self.command())
    }

    /// The command that starts the server.
    pub fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.config());
        command
    }

    /// The command that prints an access token.
    pub fn token_command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["token", "alice", "--config"]).arg(self.config());
        command
    }

    /// An access token.
    pub fn token(&self) -> String {
        self.token_by(self.token_command())
    }

    /// The access token of this installation, made by `command` at the first call.
    pub fn token_by(&self, mut command: Command) -> String {
        let kept = self.folder.path().join("token");
        if let Ok(token) = fs::read_to_string(&kept) {
            return token;
        }
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let token = String::from_utf8(output.stdout).expect("it is text").trim_end().to_owned();
        fs::write(&kept, &token).expect("the token can be kept");
        token
    }
}
