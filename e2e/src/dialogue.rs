//! A program that is told what to do line by line and says in JSON, also line by line, what has happened.
//!
//! So a test holds the order of events in its hands: it says the next thing when it has heard of the last one.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::ChildStdin,
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::mpsc, time};

use crate::process::Process;

/// What has not been said by then never will be: the test fails instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, killed when dropped.
#[derive(Debug)]
pub struct Dialogue {
    process: Process,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Dialogue {
    /// Starts `program` with `arguments` and `environment` in `folder`, where `NAME.log` gets its standard error.
    pub fn start(
        name: &str,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        environment: impl IntoIterator<Item = (&'static str, OsString)>,
        folder: &Path,
    ) -> Self {
        let (process, input, output) = Process::start_with_pipes(name, program, arguments, environment, folder);
        let (said, lines) = mpsc::unbounded_channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        Self { process, input, lines }
    }

    /// Says one line.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the program listens");
    }

    /// The next thing that the program says.
    pub async fn hear(&mut self) -> Value {
        let line = time::timeout(PATIENCE, self.lines.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("nothing was said in {PATIENCE:?}:\n{}", self.process.log()));
        let line = line.unwrap_or_else(|| panic!("the program has ended:\n{}", self.process.log()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}
