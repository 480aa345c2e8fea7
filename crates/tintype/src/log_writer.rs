//! Log lines that no request waits for.
//!
//! Lines gather in memory and one thread writes them, many at once, a moment later. Waking a thread or making a system
//! call for each line would cost a small download almost a third of its time (BENCHMARKS.md). If the output is stuck, or
//! the disk behind it is full, lines are dropped and counted once there is too much of them: serving goes on.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How long the first line of a batch waits for more.
const GATHER: Duration = Duration::from_millis(50);

/// Bytes that may wait to be written.
const MAX_WAITING: usize = 8 * 1024 * 1024;

/// Hands out writers of lines.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(Arc<Shared>);

/// Writes what is waiting when it is dropped, and ends the thread.
#[derive(Debug)]
pub(crate) struct LogGuard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    ending: bool,
}

/// Starts the thread that writes to `output`.
///
/// # Errors
/// Those of the system when it gives no thread.
pub(crate) fn start(mut output: impl Write + Send + 'static) -> io::Result<(LogWriter, LogGuard)> {
    let shared = Arc::new(Shared::default());
    let theirs = Arc::clone(&shared);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write_batches(&mut output))?;
    Ok((LogWriter(Arc::clone(&shared)), LogGuard { shared, thread: Some(thread) }))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_batches(&self, output: &mut impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut state = self
                .changed
                .wait_while(self.lock(), |state| state.waiting.is_empty() && !state.ending)
                .unwrap_or_else(PoisonError::into_inner);
            if !state.ending {
                let wait = self.changed.wait_timeout_while(state, GATHER, |state| !state.ending);
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            mem::swap(&mut batch, &mut state.waiting);
            let (ending, dropped) = (state.ending, mem::take(&mut state.dropped));
            drop(state);
            if dropped > 0 {
                let _ = writeln!(batch, "{dropped} log lines were dropped: the output did not take them in time");
            }
            // There is nobody left to tell if even this fails.
            let _ = output.write_all(&batch).and_then(|()| output.flush());
            batch.clear();
            if ending {
                return;
            }
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogWriter {
    /// Takes a whole line: the formatter writes each with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > MAX_WAITING {
            state.dropped += 1;
        } else {
            let first = state.waiting.is_empty();
            state.waiting.extend_from_slice(line);
            drop(state);
            if first {
                self.0.changed.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output that is stuck until it is told to go on.
    struct Stuck {
        go_on: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go_on.recv();
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_none_is_lost_at_the_end() {
        let (go_on, stuck) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let (mut writer, guard) = start(Stuck { go_on: stuck, written }).unwrap();
        drop(go_on);

        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        drop(guard);

        let written: Vec<u8> = lines.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(written).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_stuck_output_holds_nobody_up_and_costs_bounded_memory() {
        let (go_on, stuck) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let (mut writer, guard) = start(Stuck { go_on: stuck, written }).unwrap();
        let line = vec![b'x'; 1024 * 1024];

        for _ in 0..20 {
            writer.write_all(&line).unwrap();
        }

        assert!(writer.0.lock().waiting.len() <= MAX_WAITING);
        drop(go_on);
        drop(guard);
        let written: Vec<u8> = lines.try_iter().flatten().collect();
        assert!(written.len() < 20 * line.len());
        assert!(String::from_utf8(written).unwrap().contains("log lines were dropped"));
    }
}
