//! A server under measurement: started with its output in a file, stopped when dropped, and asked of the kernel
//! what it has used.
//!
//! Figures are of the whole process tree: nginx works in its children, and so may a server that decodes pictures
//! in workers of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

/// How long a server may take to stop when asked before it is killed.
const GRACE: Duration = Duration::from_secs(5);
const SAMPLING: Duration = Duration::from_millis(20);

/// A running process, terminated when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process tree has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time since the start, user and system, of all its threads and of children that ended.
    pub cpu: Duration,
    /// Resident memory in bytes, file pages included.
    pub resident: u64,
    /// Resident anonymous memory in bytes: what the page cache cannot take back.
    pub anonymous: u64,
    /// Bytes read from the disk itself, not from the page cache.
    pub read_from_disk: u64,
}

impl Process {
    /// Starts a command with both outputs appended to `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let output = fs::File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Fails if the process has ended, with the last lines that it wrote.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read(&self.log).unwrap_or_default();
            let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned();
            bail!("the server ended with {status}:\n{tail}");
        }
        Ok(())
    }

    /// What the process and its descendants have used so far.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn usage(&self) -> Result<Usage> {
        let mut total = usage_of(self.child.id()).context("the server has ended")?;
        for descendant in descendants_of(self.child.id()) {
            // A child may end between the two reads; then its CPU time is already its parent's.
            let usage = usage_of(descendant).unwrap_or_default();
            total.cpu += usage.cpu;
            total.resident += usage.resident;
            total.anonymous += usage.anonymous;
            total.read_from_disk += usage.read_from_disk;
        }
        Ok(total)
    }

    /// Does some work and returns by how many bytes the anonymous memory of the process grew at its highest
    /// meanwhile (sampled every 20 ms).
    ///
    /// # Errors
    /// When the work fails or the process ends.
    pub fn growth_during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
        let before = self.usage()?.anonymous;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                let mut peak = before;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(self.usage()?.anonymous);
                    std::thread::sleep(SAMPLING);
                }
                anyhow::Ok(peak)
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            let peak = sampler.join().expect("the sampler does not panic")?;
            Ok((peak.saturating_sub(before), result?))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // All at once, while the list is fresh: a server that dies before its children would leave them behind.
        let mut tree = descendants_of(self.child.id());
        tree.push(self.child.id());
        for pid in &tree {
            // An error means that it has ended already, which is what is wanted.
            let _ = signal(*pid, Signal::TERM);
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in tree {
                let _ = signal(pid, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no such process")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// CPU time of children of this very process that have ended and been waited for.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn cpu_of_ended_children() -> Result<Duration> {
    let fields = stat_fields(Path::new("/proc/self/stat")).context("/proc/self/stat")?;
    Ok(ticks(fields[13] + fields[14]))
}

fn descendants_of(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parents: Vec<(u32, u64)> = entries
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, stat_fields(&entry.path().join("stat"))?[1]))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == u64::from(parent)).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

fn usage_of(pid: u32) -> Option<Usage> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let fields = stat_fields(&folder.join("stat"))?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let io = fs::read_to_string(folder.join("io")).unwrap_or_default();
    Some(Usage {
        cpu: ticks(fields[11..=14].iter().sum()),
        resident: named(&status, "VmRSS:") * 1024,
        anonymous: named(&status, "RssAnon:") * 1024,
        read_from_disk: named(&io, "read_bytes:"),
    })
}

/// The fields of `/proc/PID/stat` after the name, which may contain blanks: `[1]` is the parent, `[11]` to `[14]`
/// are utime, stime, cutime and cstime (proc(5)).
fn stat_fields(path: &Path) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(path).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    (fields.len() > 14).then_some(fields)
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / rustix::param::clock_ticks_per_second())
}

fn named(lines: &str, name: &str) -> u64 {
    lines.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_counts_children_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "cat /dev/zero > /dev/null & wait"]);
        let process = Process::spawn(&mut command, &folder.path().join("log")).unwrap();

        while process.usage().unwrap().cpu < Duration::from_millis(50) {
            std::thread::yield_now();
        }

        assert!(process.usage().unwrap().resident > 0);
    }

    #[test]
    fn a_process_that_ended_is_reported_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port; exit 3"]);
        let mut process = Process::spawn(&mut command, &folder.path().join("log")).unwrap();

        process.child.wait().unwrap();

        assert!(process.check_alive().unwrap_err().to_string().contains("no such port"));
    }
}
