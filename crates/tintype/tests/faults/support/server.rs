//! The server as a process, and what it says on standard error.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, Installation, PATIENCE, eventually};

/// A running server, killed when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    telemetry: PathBuf,
    log: Log,
}

/// The lines that were logged so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn find<T>(&self, matching: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.lock().unwrap().iter().find_map(|line| matching(line))
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Server {
    /// Starts the server by `command`, and waits until it listens.
    pub fn start(installation: &Installation, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the server can be started");
        let log = Log::default();
        let lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let kept = log.clone();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
            }
        });
        let mut address = None;
        eventually("the server listens", || {
            address = log.find(|line| line.split_once("listening address=")?.1.parse().ok());
            let exited = child.try_wait().expect("it is our child");
            assert!(exited.is_none() || address.is_some(), "the server did not start:\n{}", log.text());
            address.is_some()
        });
        let address = address.expect("it was waited for");
        Self { child, address, token: installation.token(), telemetry: installation.telemetry(), log }
    }

    pub fn client(&self) -> Client {
        Client { address: self.address, token: self.token.clone() }
    }

    /// Waits for a line of the log that holds all of these words.
    pub fn wait_for_log(&self, words: &[&str]) {
        eventually(&format!("{words:?} in the log"), || {
            self.log.find(|line| words.iter().all(|word| line.contains(word)).then_some(())).is_some()
        });
    }

    /// Memory that is not backed by files, in bytes.
    pub fn anonymous_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") * 1024
    }

    /// Open connections, by the server's own count.
    pub fn connections(&self) -> u64 {
        self.metric("tintype_http_connections")
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> u64 {
        let mut socket = UnixStream::connect(&self.telemetry).expect("telemetry is served");
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket takes a time-out");
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut metrics = String::new();
        socket.read_to_string(&mut metrics).expect("it answers");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.expect("the metric is there").parse().expect("it is a number")
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it is our child");
    }

    /// Waits until the process ends by itself.
    pub fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it was waited for")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let mut text = String::from("--- the server's log\n");
            let _ = write!(text, "{}", self.log.text());
            println!("{text}");
        }
    }
}
