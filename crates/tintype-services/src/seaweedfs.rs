//! SeaweedFS, a store that speaks S3, from PyPI.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{guarded::Guarded, port};

/// The key that may do everything.
const ACCESS_KEY_ID: &str = "tintype";
const SECRET_ACCESS_KEY: &str = "a secret for tests";

/// Each of its ports has a twin for gRPC so far above it.
const TWIN: u16 = 10_000;

/// What marks a folder among files, in the mode of an entry.
const FOLDER: u64 = 1 << 31;

/// A SeaweedFS server.
#[derive(Debug)]
pub struct SeaweedFs {
    program: PathBuf,
    folder: PathBuf,
    master: u16,
    volume: u16,
    filer: u16,
    s3: u16,
    running: Option<Guarded>,
    common: OnceLock<Bucket>,
}

/// A bucket of one test, or a folder in one, empty at first.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The URL of the service.
    pub endpoint: String,
    /// Its name.
    pub name: String,
    /// The folder in it, which is the test's; nothing, if all of it is.
    pub prefix: String,
    /// The ID of the key.
    pub access_key_id: &'static str,
    /// The secret key.
    pub secret_access_key: &'static str,
    filer: u16,
}

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size, in bytes.
    pub size: u64,
}

impl SeaweedFs {
    /// The server of this test process, started if it is not running yet.
    ///
    /// # Panics
    /// If SeaweedFS cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<SeaweedFs> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the caller's own.
    ///
    /// # Panics
    /// If SeaweedFS cannot be started.
    pub fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| panic!("SeaweedFS: {error:#}"))
    }

    fn try_start() -> Result<Self> {
        let program = program()?;
        let folder = TempDir::with_prefix("tintype-seaweedfs-")?.keep();
        fs::create_dir(folder.join("data"))?;
        let identities = format!(
            r#"{{"identities":[{{"name":"tintype","credentials":[{{"accessKey":"{ACCESS_KEY_ID}","secretKey":"{SECRET_ACCESS_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        fs::write(folder.join("s3.json"), identities)?;
        let port = || port::free(&[TWIN]);
        let (master, volume, filer, s3) = (port(), port(), port(), port());
        let mut server = Self { program, folder, master, volume, filer, s3, running: None, common: OnceLock::new() };
        server.run()?;
        Ok(server)
    }

    /// A new bucket.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn bucket(&self) -> Bucket {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.make_bucket(&name).unwrap_or_else(|error| panic!("the bucket {name}: {error:#}"));
        let (access_key_id, secret_access_key) = (ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        let (endpoint, prefix) = (self.endpoint(), String::new());
        Bucket { endpoint, name, prefix, access_key_id, secret_access_key, filer: self.filer }
    }

    /// A folder in a bucket that many have: each bucket has volumes of its own, and there are not so many.
    ///
    /// # Panics
    /// If the bucket cannot be made.
    pub fn folder_in_bucket(&self) -> Bucket {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("folder-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Bucket { prefix, ..self.common.get_or_init(|| self.bucket()).clone() }
    }

    /// The URL of the service.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3)
    }

    /// Stops the server: what is under way is cut, and nobody can connect.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it again, with all it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.run().unwrap_or_else(|error| panic!("SeaweedFS: {error:#}"));
    }

    /// A bucket is a folder of the filer, whose port nobody guards: no signature has to be made for it.
    fn make_bucket(&self, name: &str) -> Result<()> {
        let answer = exchange(self.filer, "POST", &format!("/buckets/{name}/"))?;
        ensure!(answer.starts_with("HTTP/1.1 2"), "{answer}");
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let text = |path: &Path| path.to_str().map(ToOwned::to_owned).context("the folder has a name in UTF-8");
        let words = [
            text(&self.program)?,
            "server".to_owned(),
            "-master.telemetry=false".to_owned(),
            // The only master elects itself, and takes so long to notice that after a start with what it had.
            "-master.electionTimeout=1s".to_owned(),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-dir={}", text(&self.folder.join("data"))?),
            format!("-master.port={}", self.master),
            // Volumes are made as they are needed, and are small: a test keeps little.
            "-master.volumeSizeLimitMB=64".to_owned(),
            "-volume.max=0".to_owned(),
            format!("-volume.port={}", self.volume),
            "-filer".to_owned(),
            format!("-filer.port={}", self.filer),
            "-s3".to_owned(),
            format!("-s3.port={}", self.s3),
            // Services that nobody here asks for, at ports that are the same for all.
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            format!("-s3.config={}", text(&self.folder.join("s3.json"))?),
        ];
        let words = words.iter().map(String::as_str).collect::<Vec<_>>();
        let mut running = Guarded::start(&words, "KILL", &self.folder.join("log"), &self.folder)?;
        // SIGKILL: asked to stop it waits ten seconds first. What it was given is with the system.
        // It answers before it can keep anything: a byte is put there and read back.
        running.until(|| {
            let listens = exchange(self.s3, "GET", "/").is_ok();
            listens && put_a_byte(self.filer, "/tmp/there").is_ok_and(|answer| answer.starts_with("HTTP/1.1 201"))
        })?;
        self.running = Some(running);
        Ok(())
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        self.running = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Bucket {
    /// All that is in it. What it has of uploads that are not complete, below `.uploads/`, is nobody's object.
    ///
    /// # Panics
    /// If the server does not say.
    pub fn objects(&self) -> Vec<Object> {
        let root = format!("/buckets/{}/{}", self.name, self.prefix).trim_end_matches('/').to_owned();
        let uploads = format!("{root}/.uploads");
        let (mut folders, mut objects) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            let listing = self.list(&folder).unwrap_or_else(|error| panic!("what is in {folder}: {error:#}"));
            for entry in listing["Entries"].as_array().into_iter().flatten() {
                let path = entry["FullPath"].as_str().unwrap_or_default().to_owned();
                if path == uploads {
                    continue;
                }
                if entry["Mode"].as_u64().is_some_and(|mode| mode & FOLDER != 0) {
                    folders.push(path);
                } else {
                    let key = path.strip_prefix(&root).unwrap_or(&path).trim_start_matches('/').to_owned();
                    objects.push(Object { key, size: entry["FileSize"].as_u64().unwrap_or_default() });
                }
            }
        }
        objects
    }

    fn list(&self, folder: &str) -> Result<Value> {
        // HTTP/1.0: the answer has no chunks.
        let request =
            format!("GET {folder}/?limit=100000 HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n");
        let answer = send(self.filer, &request)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        match head.split(' ').nth(1) {
            Some("200") => Ok(serde_json::from_str(body)?),
            // A folder that has gone meanwhile.
            Some("404") => Ok(Value::Null),
            _ => bail!("{head}"),
        }
    }
}

fn put_a_byte(filer: u16, path: &str) -> Result<String> {
    send(filer, &format!("PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1"))
}

fn exchange(port: u16, method: &str, path: &str) -> Result<String> {
    send(
        port,
        &format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    )
}

fn send(port: u16, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where `xtask/src/tools.rs` puts it.
fn program() -> Result<PathBuf> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the crate lies in the workspace")?;
    let program = workspace.join("target/tools/seaweedfs/bin/weed");
    ensure!(program.is_file(), "there is no {}: `cargo xtask test` installs it", program.display());
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_bucket_is_as_a_bucket() {
        let server = SeaweedFs::shared();
        let (folder, other) = (server.folder_in_bucket(), server.folder_in_bucket());
        put_a_byte(server.filer, &format!("/buckets/{}/{}/a/b", folder.name, folder.prefix)).unwrap();

        assert_eq!(folder.name, other.name);
        assert_eq!(folder.objects(), [Object { key: "a/b".to_owned(), size: 1 }]);
        assert_eq!(other.objects(), Vec::new());
    }

    #[test]
    fn a_bucket_says_what_is_in_it_and_in_no_other() {
        let server = SeaweedFs::shared();
        let (bucket, other) = (server.bucket(), server.bucket());
        for key in ["a/b/c", "d"] {
            put_a_byte(server.filer, &format!("/buckets/{}/{key}", bucket.name)).unwrap();
        }

        let mut objects = bucket.objects();
        objects.sort();

        assert_eq!(objects, ["a/b/c", "d"].map(|key| Object { key: key.to_owned(), size: 1 }));
        assert_eq!(other.objects(), Vec::new());
    }
}
