//! A folder with the program in it, as an operator has one.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tintype_testing::{Client, until};

/// Free ports, so that many servers can run at once.
const FREE_PORTS: &str = "http.listen = ['127.0.0.1:0']\ntelemetry.listen = '127.0.0.1:0'\n";

/// A folder that the program is started in.
pub struct Installation {
    folder: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Installation {
    /// Without a file: the standalone profile.
    pub fn empty() -> Self {
        Self { folder: TempDir::new().expect("there is room for a folder") }
    }

    /// With this configuration, on free ports.
    pub fn with(config: &str) -> Self {
        let installation = Self::empty();
        installation.write("tintype.toml", &format!("{FREE_PORTS}{config}"));
        installation
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("the file can be written");
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs the server until what is returned is dropped or stopped.
    pub async fn serve(&self) -> Serving {
        Self::serving(self.command(&["serve"])).await
    }

    /// The same on a machine that has no certificates of authorities.
    pub async fn serve_without_authorities(&self) -> Serving {
        let mut command = self.command(&["serve"]);
        command.env("SSL_CERT_FILE", self.path().join("nothing.pem"));
        Self::serving(command).await
    }

    async fn serving(mut command: Command) -> Serving {
        let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = child.expect("the program starts");
        let text = Arc::<Mutex<String>>::default();
        let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let reading = thread::spawn({
            let text = Arc::clone(&text);
            move || {
                for line in stderr.lines() {
                    let mut text = text.lock().expect("nobody fails with it");
                    text.push_str(&line.expect("it prints text"));
                    text.push('\n');
                }
            }
        });
        let mut serving = Serving { child, text, reading: Some(reading) };
        until("the server listens", async || serving.address().is_some() || serving.has_ended()).await;
        assert!(serving.address().is_some(), "it does not serve: {}", serving.text());
        serving
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A server that runs.
pub struct Serving {
    child: Child,
    text: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl Serving {
    /// Somebody who talks to it.
    pub fn client(&self) -> Client {
        Client::of_address(self.address().expect("it has said where it listens"))
    }

    /// What it has printed on standard error so far.
    pub fn text(&self) -> String {
        self.text.lock().expect("nobody fails with it").clone()
    }

    /// Ends it with a signal; how it ended, and everything that it had printed on standard error.
    pub fn stop(mut self, signal: Signal) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        let status = self.child.wait().expect("it ends");
        self.reading.take().expect("it is stopped once").join().expect("it prints text");
        (status, self.text())
    }

    /// Where it listens, once it has said so.
    pub fn address(&self) -> Option<SocketAddr> {
        let text = self.text();
        let (_, rest) = text.split_once("address")?;
        let address = rest.trim_start_matches(['=', ':', '"']);
        let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())?;
        address[..end].parse().ok()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
