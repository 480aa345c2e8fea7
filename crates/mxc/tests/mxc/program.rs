//! A folder in which the program is run.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tintype_testing::until;

use crate::{peer::Peer, server::Server};

/// What the program printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// The program, somebody who uses it, and the folder that it runs in.
pub struct Program {
    folder: TempDir,
    variables: BTreeMap<&'static str, String>,
}

impl Program {
    /// For a user of this server.
    pub async fn of(server: &Server, user: &str) -> Self {
        let token = server.tintype.user(user).await.token().to_owned();
        Self::with([("MXC_SERVER", server.relay.url()), ("MXC_TOKEN", token)])
    }

    /// For a user of this peer.
    pub fn of_peer(peer: &Peer) -> Self {
        Self::with([("MXC_SERVER", peer.url()), ("MXC_TOKEN", "token".to_owned())])
    }

    /// With these environment variables and no others.
    pub fn with(variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { folder: TempDir::new().expect("there is room for a folder"), variables: variables.into_iter().collect() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("the file can be written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}; there is {:?}", self.files()))
    }

    /// The names of all there is in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder can be read");
        let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
        let mut names = names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
        names.sort();
        names
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mxc"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().envs(&self.variables);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).ended().await
    }

    /// Runs it to its end, with this on its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        let mut running = Running::of(command);
        let (mut stdin, input) = (running.0.stdin.take().expect("it is a pipe"), input.to_vec());
        tokio::task::spawn_blocking(move || stdin.write_all(&input)).await.expect("it ends").expect("it reads");
        running.ended().await
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }

    /// Waits until a download is being written.
    pub async fn is_writing(&self) {
        until("a download is being written", async || self.files().iter().any(|name| is_partial(name))).await;
    }
}

fn is_partial(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "part")
}

/// The program while it runs.
pub struct Running(pub Child);

impl Running {
    /// Starts it.
    pub fn of(mut command: Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    pub async fn ended(self) -> Ran {
        let ended = tokio::task::spawn_blocking(|| self.0.wait_with_output()).await;
        ended.expect("it ends").expect("it can be waited for").into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("it prints text");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Ran {
    /// What it printed, if all went well and it said nothing else.
    pub fn result(&self) -> &[u8] {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    /// The line that it printed, if all went well and it said nothing else.
    pub fn line(&self) -> &str {
        let text = std::str::from_utf8(self.result()).expect("it prints text");
        let line = text.strip_suffix('\n').expect("it is a line");
        assert!(!line.contains('\n'), "{text}");
        line
    }

    /// The object that it printed, if all went well and it said nothing else.
    pub fn object(&self) -> Value {
        serde_json::from_str(self.line()).expect("it is JSON")
    }

    /// The line of its error, if it failed and said nothing else.
    pub fn error(&self) -> &str {
        assert_eq!((self.code, &self.stdout[..]), (Some(1), &b""[..]), "{self:?}");
        let line = self.stderr.strip_prefix("mxc: ").and_then(|line| line.strip_suffix('\n')).expect("it is a line");
        assert!(!line.contains('\n'), "{line}");
        line
    }
}
