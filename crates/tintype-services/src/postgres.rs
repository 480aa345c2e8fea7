//! PostgreSQL, from Debian's packages or wherever the search path has it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{guarded::Guarded, port};

/// The user in it, and the one that runs it where the tests run as root: PostgreSQL refuses to.
const USER: &str = "postgres";

/// A server that many nodes of many tests use at once. What it keeps is thrown away: nothing is synced.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "max_connections=500",
    "shared_buffers=64MB",
    "max_locks_per_transaction=128",
];

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    running: Option<Guarded>,
}

/// A database of one test, empty at first. It goes when this is dropped.
#[derive(Debug)]
pub struct Database {
    server: &'static Postgres,
    name: String,
}

impl Postgres {
    /// The server of this test process, started if it is not running yet.
    ///
    /// # Panics
    /// If PostgreSQL cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the caller's own.
    ///
    /// # Panics
    /// If PostgreSQL cannot be started.
    pub fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| panic!("PostgreSQL: {error:#}"))
    }

    fn try_start() -> Result<Self> {
        let programs = programs()?;
        // Not below the workspace: the user that runs the server may not be allowed to go there.
        let folder = TempDir::with_prefix("tintype-postgres-")?.keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        let data = folder.join("data");
        let initdb = programs.join("initdb");
        let arguments = ["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        let mut made = as_its_user(&initdb);
        let made = made.args(arguments).arg(&data).current_dir(&folder).stdin(Stdio::null()).output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { programs, folder, port: port::free(&[]), running: None };
        server.run()?;
        Ok(server)
    }

    /// A new database. Its server has to be [shared](Postgres::shared), or to be [leaked](Box::leak).
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn database(&'static self) -> Database {
        self.database_like("template0")
    }

    /// A new database with all that another one has, to which nobody is connected: sooner than it could be filled.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn copy_of(&'static self, template: &Database) -> Database {
        self.database_like(&template.name)
    }

    fn database_like(&'static self, template: &str) -> Database {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.ask("createdb", &["--template", template, &name]);
        Database { server: self, name }
    }

    /// The URL of one of its databases. `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// What a query on one of its databases answers: each row, with `|` between its columns.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn rows(&self, database: &str, query: &str) -> Result<Vec<String>> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", database]).args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            query,
        ]);
        let output = psql.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.lines().filter(|row| !row.is_empty()).map(ToOwned::to_owned).collect())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server: whoever is connected is cut, and nobody can connect.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it again, with all it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.run().unwrap_or_else(|error| panic!("PostgreSQL: {error:#}"));
    }

    fn run(&mut self) -> Result<()> {
        let program = self.programs.join("postgres");
        let command = as_its_user(&program);
        let mut words = vec![command.get_program().to_owned()];
        words.extend(command.get_args().map(ToOwned::to_owned));
        let (data, port) = (self.folder.join("data"), self.port.to_string());
        let sockets = format!("unix_socket_directories={}", self.folder.display());
        let mut words = words.iter().filter_map(|word| word.to_str()).collect::<Vec<_>>();
        words.extend(["-D", data.to_str().context("the folder has a name in UTF-8")?, "-p", &port, "-c", &sockets]);
        words.extend(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        // SIGINT: whoever is connected is cut.
        let mut running = Guarded::start(&words, "INT", &self.folder.join("log"), &self.folder)?;
        let ready = self.programs.join("pg_isready");
        running.until(|| {
            let mut asking = Command::new(&ready);
            asking.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
        })?;
        self.running = Some(running);
        Ok(())
    }

    fn ask(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]).args(arguments);
        let output = command.stdin(Stdio::null()).output().expect("the programs of PostgreSQL can be started");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.running = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Database {
    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.server.running.is_some() {
            self.server.ask("dropdb", &["--force", "--if-exists", &self.name]);
        }
    }
}

/// The program, run by somebody whom PostgreSQL lets run it.
fn as_its_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

/// Where its programs are: Debian keeps those of each version in a folder that is on nobody's path.
fn programs() -> Result<PathBuf> {
    let mut versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let version: u32 = folder.file_name()?.to_str()?.parse().ok()?;
            Some((version, folder.join("bin")))
        })
        .collect::<Vec<_>>();
    versions.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates = versions.into_iter().rev().map(|(_, folder)| folder).chain(env::split_paths(&path));
    let found =
        candidates.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.context("it is not installed: `cargo xtask test` installs it, or Debian's package `postgresql`")
}
