//! A program that never outlives the process that started it.
//!
//! It runs under a shell that reads from a pipe which nobody writes to: when the process ends, however it ends, the pipe
//! does, and the shell stops the program and removes its folder. So nothing is left behind by a test that is killed, nor by
//! servers of a `static`, which is never dropped.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long a program may take to start or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is looked at meanwhile: there is no event to wait for across processes.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// `$1` is the signal that stops the program, `$2` its folder, then the program. A line means that it is to stop and may
/// start again; the end of the pipe, that nobody is there any more.
const GUARD: &str = r#"
signal=$1 folder=$2; shift 2
"$@" </dev/null & program=$!
trap '' INT TERM HUP
read -r line; gone=$?
kill -"$signal" "$program" 2>/dev/null
wait "$program"
[ "$gone" = 0 ] || rm -rf "$folder"
"#;

/// A running program.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    log: PathBuf,
}

impl Guarded {
    /// Starts a program whose output goes to `log`. It is stopped with `signal`; `folder` goes when this process has ended.
    pub(crate) fn start(command: &[&str], signal: &str, log: &Path, folder: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", signal])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} cannot be started", command.first().unwrap_or(&"nothing")))?;
        Ok(Self { guard, log: log.to_owned() })
    }

    /// Waits until the program answers.
    pub(crate) fn until(&mut self, answers: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !answers() {
            if Instant::now() > deadline {
                bail!("it does not answer, and said:\n{}", self.said());
            }
            thread::sleep(ASK_AGAIN_AFTER);
        }
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Guarded {
    /// Stops the program, and waits until it has ended.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.guard.stdin.take() {
            let _ = pipe.write_all(b"stop\n");
        }
        let _ = self.guard.wait();
    }
}
