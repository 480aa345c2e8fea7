//! Programs that a test starts, and that never outlive it.
//!
//! Three nets: dropping a [`Process`] kills its whole process group; the kernel kills it when the test process ends,
//! however that happens; and for the second to work, one thread that never ends starts every program, since the
//! kernel watches the thread that started it, and tests run in threads of their own.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{net::TcpStream, time};

/// How long a program may take to start or to end before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a starting program is asked whether it is there: there is no event to wait for across processes.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A running program.
#[derive(Debug)]
pub struct Process {
    // Taken by `stop`.
    child: Option<Child>,
    name: String,
    log: PathBuf,
}

/// Kills a program. Its number is nobody else's as long as the program is not [waited for](Process::kill).
#[derive(Clone, Copy, Debug)]
pub struct Killer(Pid);

impl Killer {
    /// Kills it (SIGKILL). A second time nothing happens.
    pub fn kill(self) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

impl Process {
    /// Starts `program` with `arguments` and `environment` in `folder`; what it prints goes to `NAME.log` there.
    pub fn start(
        name: &str,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        environment: impl IntoIterator<Item = (&'static str, OsString)>,
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).expect("the log can be written");
        let mut command = lasting(program, arguments, environment, folder);
        command.stdin(Stdio::null()).stderr(output.try_clone().expect("a descriptor can be copied")).stdout(output);
        Self { child: Some(spawn_from_lasting_thread(command)), name: name.to_owned(), log }
    }

    /// Starts a program likewise, with its standard input and output in the test's hands; only what it prints to
    /// standard error goes to `NAME.log`.
    pub fn start_with_pipes(
        name: &str,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        environment: impl IntoIterator<Item = (&'static str, OsString)>,
        folder: &Path,
    ) -> (Self, ChildStdin, ChildStdout) {
        let log = folder.join(format!("{name}.log"));
        let mut command = lasting(program, arguments, environment, folder);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("the log can be written"));
        let mut child = spawn_from_lasting_thread(command);
        let (input, output) = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        (Self { child: Some(child), name: name.to_owned(), log }, input, output)
    }

    /// Waits until something listens on `port`; fails when the program ends first.
    pub async fn wait_for_port(&mut self, port: u16) {
        self.wait_until(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
    }

    /// Waits until `is_ready` says yes; fails when the program ends first.
    pub async fn wait_until(&mut self, is_ready: impl AsyncFn() -> bool) {
        let ready = time::timeout(PATIENCE, async {
            while !is_ready().await {
                self.assert_running();
                time::sleep(ASK_AGAIN_AFTER).await;
            }
        });
        let is_late = ready.await.is_err();
        assert!(!is_late, "{} is not ready after {PATIENCE:?}:\n{}", self.name, self.log());
    }

    /// Asks the program to end (SIGTERM), waits for it, and returns how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a program is stopped once");
        kill_process(process_id(&child), Signal::TERM).expect("a running program can be signalled");
        let (end, ended) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            let _ = end.send(child.wait());
        });
        time::timeout(PATIENCE, ended)
            .await
            .unwrap_or_else(|_| panic!("{} ignores SIGTERM:\n{}", self.name, self.log()))
            .expect("the waiting thread answers")
            .expect("a child can be waited for")
    }

    /// Who can kill it without having it.
    pub fn killer(&self) -> Killer {
        Killer(process_id(self.child.as_ref().expect("it has not been stopped")))
    }

    /// Stops it where it is (SIGSTOP), as a machine does that hangs.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it has not been stopped");
        let _ = kill_process_group(process_id(child), signal);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("it has not been stopped");
        child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Kills the program (SIGKILL), as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a program is killed once");
        let _ = kill_process_group(process_id(&child), Signal::KILL);
        let _ = child.wait();
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn assert_running(&mut self) {
        let child = self.child.as_mut().expect("it has not been stopped");
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            panic!("{} ended with {status}:\n{}", self.name, self.log());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let _ = kill_process_group(process_id(&child), Signal::KILL);
        let _ = child.wait();
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.name, tail(&self.log()));
        }
    }
}

// setpriv asks the kernel for the second net, then becomes the program.
fn lasting(
    program: impl Into<OsString>,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    environment: impl IntoIterator<Item = (&'static str, OsString)>,
    folder: &Path,
) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.into())
        .args(arguments.into_iter().map(Into::into))
        .envs(environment)
        .current_dir(folder)
        .process_group(0);
    command
}

fn process_id(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn spawn_from_lasting_thread(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, received) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in received {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });

    let (reply, child) = mpsc::channel();
    SPAWNER.send((command, reply)).expect("the thread never ends");
    child.recv().expect("the thread answers").expect("setpriv (util-linux) is there")
}
