//! The servers under measurement, each started on a free port of loopback with a folder of its own and stopped
//! when dropped, folder and all.

mod federation;
mod nginx;
mod stores;
mod synapse;
mod tintype;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use tempfile::TempDir;

pub use self::federation::{Certificate, Federation};
pub use self::stores::Stores;

use crate::connection::Connection;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_mins(2);
const GAUGE_LIMIT: Duration = Duration::from_mins(1);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Ours, in its standalone profile.
    Tintype,
    /// Debian's, with static files and sendfile.
    Nginx,
    /// Synapse with its media repository, on SQLite.
    Synapse,
}

impl Kind {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tintype => "Tintype",
            Self::Nginx => "nginx",
            Self::Synapse => "Synapse",
        }
    }
}

/// Where the programs are, and where they may work.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The release build of Tintype.
    pub tintype: PathBuf,
    /// The Python interpreter that has Synapse installed.
    pub synapse_python: PathBuf,
    /// nginx.
    pub nginx: PathBuf,
    /// wrk.
    pub wrk: PathBuf,
    /// vipsthumbnail.
    pub vipsthumbnail: PathBuf,
    /// Where servers keep their data: on a real disk.
    pub work: PathBuf,
}

/// A running server with someone logged in.
pub struct Server {
    /// Which one.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// The access token of a user; nginx needs none.
    pub token: Option<String>,
    /// Where it has metrics; only Tintype's are read.
    telemetry: Option<SocketAddr>,
    /// How long the very first start took, until the first answer: folders, keys and tables are made in it.
    pub first_start: Duration,
    process: Option<Process>,
    launch: Launch,
    folder: TempDir,
}

/// How to start a server that has been set up.
struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
    /// What is asked to see whether it answers.
    answers: &'static str,
    /// Where it will have metrics.
    telemetry: Option<SocketAddr>,
}

/// A URI that was reserved, and where its upload goes.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// The path of its download.
    pub path: String,
    /// The path of its upload.
    pub upload_path: String,
}

/// Something that a server has to offer.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The path of its download.
    pub path: String,
    /// The path of its thumbnails, where the server makes any; a query is to follow.
    pub thumbnail_path: String,
    /// Its length in bytes.
    pub length: u64,
}

impl Server {
    /// Sets up a server from nothing, starts it and logs someone in.
    ///
    /// # Errors
    /// When it cannot be set up, or does not answer within two minutes.
    pub fn start(kind: Kind, programs: &Programs) -> Result<Self> {
        let server = Self::start_as(kind, programs, None, None)?;
        server.with_somebody()
    }

    /// Starts Tintype in front of a server, to which it passes everything on that is not about media.
    ///
    /// # Errors
    /// When it cannot be set up, or does not answer within two minutes.
    pub fn start_in_front_of(homeserver: &Self, programs: &Programs) -> Result<Self> {
        Self::start_as(Kind::Tintype, programs, None, Some(homeserver.address))
    }

    /// Likewise, as a server that others can reach.
    ///
    /// # Errors
    /// The same, and for nginx.
    pub fn start_federating(kind: Kind, programs: &Programs, federation: Federation<'_>) -> Result<Self> {
        let server = Self::start_as(kind, programs, Some(federation), None)?;
        server.with_somebody()
    }

    fn start_as(
        kind: Kind,
        programs: &Programs,
        federation: Option<Federation<'_>>,
        homeserver: Option<SocketAddr>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(kind.name()).tempdir_in(&programs.work)?;
        let address = free_address()?;
        let launch = match kind {
            Kind::Tintype => tintype::set_up(programs, folder.path(), address, federation, homeserver)?,
            Kind::Nginx if federation.is_some() => bail!("nginx does not federate"),
            Kind::Nginx => nginx::set_up(programs, folder.path(), address)?,
            Kind::Synapse => synapse::set_up(programs, folder.path(), address, federation)?,
        };
        Self::started(kind, address, launch, folder)
    }

    /// Starts a node of Tintype that keeps things where others do.
    ///
    /// # Errors
    /// When it cannot be set up, or does not answer within two minutes.
    pub fn start_node(programs: &Programs, stores: &Stores) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("node").tempdir_in(&programs.work)?;
        let address = free_address()?;
        let launch = tintype::set_up_node(programs, folder.path(), address, stores)?;
        Self::started(Kind::Tintype, address, launch, folder)
    }

    fn started(kind: Kind, address: SocketAddr, launch: Launch, folder: TempDir) -> Result<Self> {
        let (telemetry, first_start) = (launch.telemetry, Duration::ZERO);
        let mut server = Self { kind, address, token: None, telemetry, first_start, process: None, launch, folder };
        server.first_start = server.start_again()?;
        Ok(server)
    }

    fn with_somebody(mut self) -> Result<Self> {
        self.token = self.log_in("bench")?;
        Ok(self)
    }

    /// Makes an account and returns an access token of it; nginx has none.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn log_in(&self, user: &str) -> Result<Option<String>> {
        Ok(match self.kind {
            Kind::Tintype => Some(tintype::token(Path::new(&self.launch.program), self.folder.path(), user)?),
            Kind::Nginx => None,
            Kind::Synapse => Some(synapse::token(self.address, user)?),
        })
    }

    /// Stops the server if it runs, starts it with the data that it has, and returns the time from the start of the
    /// process to its first answer.
    ///
    /// # Errors
    /// When it ends, or does not answer within two minutes.
    pub fn start_again(&mut self) -> Result<Duration> {
        self.process = None;
        let mut command = Command::new(&self.launch.program);
        command.args(&self.launch.arguments).current_dir(self.folder.path());
        let began = Instant::now();
        let mut process = Process::spawn(&mut command, &self.folder.path().join("output.log"))?;
        let request = self.get(self.launch.answers, "");
        while let Err(error) = self.answers(&request) {
            process.check_alive().with_context(|| self.kind.name())?;
            ensure!(began.elapsed() < START_LIMIT, "{} does not answer: {error:#}", self.kind.name());
            std::thread::sleep(Duration::from_millis(1));
        }
        let taken = began.elapsed();
        self.process = Some(process);
        Ok(taken)
    }

    fn answers(&self, request: &[u8]) -> Result<()> {
        let mut connection = Connection::open(self.address)?;
        connection.send(request)?;
        connection.expect_status(200)?;
        Ok(())
    }

    /// The running process.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("a server runs from its start until it is dropped")
    }

    /// The folder that holds all its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stores some bytes and returns where they can be downloaded.
    ///
    /// # Errors
    /// When the upload is refused.
    pub fn store(&self, bytes: &[u8], content_type: &str) -> Result<Stored> {
        if self.kind == Kind::Nginx {
            return nginx::store(self.folder.path(), bytes);
        }
        let media = self.media_of(&self.post("/_matrix/media/v3/upload", content_type, bytes.len() as u64), bytes)?;
        Ok(Stored {
            path: format!("/_matrix/client/v1/media/download/{media}"),
            thumbnail_path: format!("/_matrix/client/v1/media/thumbnail/{media}"),
            length: bytes.len() as u64,
        })
    }

    /// Has nginx answer a path as a homeserver might.
    ///
    /// # Errors
    /// When the file cannot be written, or it is another server.
    pub fn answer(&self, path: &str, body: &[u8]) -> Result<()> {
        ensure!(self.kind == Kind::Nginx, "{} says for itself what it answers", self.kind.name());
        nginx::answer(self.folder.path(), path, body)
    }

    /// How many such lines the server has logged.
    ///
    /// # Errors
    /// When its logs cannot be read.
    pub fn logged(&self, is_counted: impl Fn(&str) -> bool) -> Result<u64> {
        let mut count = 0;
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = fs::read(path)?;
                count += String::from_utf8_lossy(&log).lines().filter(|line| is_counted(line)).count() as u64;
            }
        }
        Ok(count)
    }

    /// Reserves a URI for an upload that comes later.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn reserve(&self) -> Result<Reserved> {
        let media = self.media_of(&self.post("/_matrix/media/v1/create", "application/json", 0), &[])?;
        Ok(Reserved {
            path: format!("/_matrix/client/v1/media/download/{media}"),
            upload_path: format!("/_matrix/media/v3/upload/{media}"),
        })
    }

    /// `SERVER/ID` of the media that the answer to a request names.
    fn media_of(&self, head: &[u8], body: &[u8]) -> Result<String> {
        let mut connection = Connection::open(self.address)?;
        connection.send(head)?;
        connection.send(body)?;
        let head = connection.expect_status(200)?;
        let answer: serde_json::Value = serde_json::from_slice(&connection.body(head)?)?;
        let uri = answer["content_uri"].as_str().context("no content_uri")?;
        Ok(uri.strip_prefix("mxc://").with_context(|| uri.to_owned())?.to_owned())
    }

    /// Waits until a gauge of Tintype's has reached a value.
    ///
    /// # Errors
    /// When it has not within a minute, or there is no such gauge.
    pub fn wait_for_gauge(&self, name: &str, value: u64) -> Result<()> {
        let telemetry = self.telemetry.with_context(|| format!("{} has no gauges", self.kind.name()))?;
        let mut connection = Connection::open(telemetry)?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {telemetry}\r\n\r\n");
        let began = Instant::now();
        loop {
            connection.send(request.as_bytes())?;
            let head = connection.expect_status(200)?;
            let metrics = String::from_utf8(connection.body(head)?)?;
            let mut lines = metrics.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
            let found = found.with_context(|| format!("no {name} in the metrics"))?;
            if found >= value {
                return Ok(());
            }
            ensure!(began.elapsed() < GAUGE_LIMIT, "{name} is {found} and not yet {value}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A GET request with the user's token; `headers` are further whole header lines.
    pub fn get(&self, path: &str, headers: &str) -> Vec<u8> {
        self.request("GET", path, headers, self.token.as_deref())
    }

    /// A GET request with another user's token.
    pub fn get_as(&self, token: &str, path: &str) -> Vec<u8> {
        self.request("GET", path, "", Some(token))
    }

    /// The head of a POST request with the user's token.
    pub fn post(&self, path: &str, content_type: &str, content_length: u64) -> Vec<u8> {
        let headers = format!("Content-Type: {content_type}\r\nContent-Length: {content_length}\r\n");
        self.request("POST", path, &headers, self.token.as_deref())
    }

    /// The head of the PUT request that brings a reserved upload.
    pub fn put(&self, reserved: &Reserved, content_length: u64) -> Vec<u8> {
        let headers = format!("Content-Type: application/octet-stream\r\nContent-Length: {content_length}\r\n");
        self.request("PUT", &reserved.upload_path, &headers, self.token.as_deref())
    }

    fn request(&self, method: &str, path: &str, headers: &str, token: Option<&str>) -> Vec<u8> {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}{headers}\r\n", self.address).into_bytes()
    }
}

/// An address of loopback that nothing listens on.
///
/// # Errors
/// When no port is free.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
