//! A node: the built server as a process that is killed, paused and started again, and that somebody looks after.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{folder::Folder, port, process::Process, tools};

const CONFIGURATION: &str = "tintype.toml";

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    number: usize,
    process: Option<Process>,
    // Whether it is to run, and is not paused.
    is_wanted: bool,
    starts: u32,
    /// How it ended by itself although it had been ready.
    pub complaints: Vec<String>,
    pub ports: Ports,
    folder: Folder,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub clients: u16,
    pub servers: u16,
    pub nodes: u16,
    pub telemetry: u16,
}

impl Ports {
    pub fn free() -> Self {
        Self { clients: port::free(), servers: port::free(), nodes: port::free(), telemetry: port::free() }
    }
}

impl Node {
    /// A node that has this configuration, and is not started yet.
    pub fn new(number: usize, ports: Ports, configuration: &str) -> Self {
        let folder = Folder::new(&format!("node-{number}"));
        fs::write(folder.path().join(CONFIGURATION), configuration).expect("a file can be written");
        Self { number, process: None, is_wanted: false, starts: 0, complaints: Vec::new(), ports, folder }
    }

    /// An access token of an account here.
    pub fn token(&self, localpart: &str) -> String {
        let mut command = Command::new(tools::tintype());
        command.args(["token", localpart, "--config", CONFIGURATION]).current_dir(self.folder.path());
        let output = command.output().expect("the command can be started");
        assert!(output.status.success(), "token: {output:?}");
        String::from_utf8(output.stdout).expect("what is printed is text").trim().to_owned()
    }

    /// Starts it; whether it is ready is another question.
    pub fn start(&mut self) {
        self.starts += 1;
        self.is_wanted = true;
        let name = format!("node-{}-{}", self.number, self.starts);
        let arguments = ["serve", "--config", CONFIGURATION];
        self.process = Some(Process::start(&name, tools::tintype(), arguments, [], self.folder.path()));
    }

    pub fn kill(&mut self) {
        self.is_wanted = false;
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it in order.
    pub async fn stop(&mut self) {
        self.is_wanted = false;
        if let Some(mut process) = self.process.take() {
            process.stop().await;
        }
    }

    pub fn pause(&mut self) {
        self.is_wanted = false;
        if let Some(process) = &self.process {
            process.pause();
        }
    }

    pub fn go_on(&mut self) {
        self.is_wanted = true;
        if let Some(process) = &self.process {
            process.go_on();
        }
    }

    /// Starts it again where it has ended by itself: whoever starts while the database is away does so.
    pub fn look_after(&mut self) {
        if !self.is_wanted || !self.process.as_mut().is_some_and(Process::has_ended) {
            return;
        }
        let log = self.log();
        if log.contains("listening") {
            self.complaints.push(format!("node {} ended by itself:\n{log}", self.number));
        }
        self.start();
    }

    /// Waits until it is ready.
    pub async fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/ready", self.ports.telemetry);
        e2e::synapse::http_client().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// What it has printed since it was started last.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Keeps its logs.
    pub fn keep(&self) {
        self.folder.keep();
    }

    /// The files of what has not come to its end: uploads that arrive, and objects that are sent and not recorded.
    pub fn unfinished(&self) -> Vec<PathBuf> {
        ["tmp", "pending"].iter().flat_map(|folder| list(&self.scratch().join(folder))).collect()
    }

    /// The names of the files of uploads that can be gone on with.
    pub fn partial(&self) -> Vec<String> {
        let files = list(&self.scratch().join("partial"));
        files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect()
    }

    fn scratch(&self) -> PathBuf {
        self.folder.path().join("data/scratch")
    }
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
