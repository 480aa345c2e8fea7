//! A disk that is full: uploads are refused in words that an operator understands, downloads go on, and when there is
//! room again nothing has to be restarted.
//!
//! The disk is a small tmpfs in a mount namespace of its own: it needs root or unprivileged user namespaces, and is gone
//! with its last process, whatever becomes of the test.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use crate::support::{
    Client, Installation, Inventory, Random, Response, Server, assert_nothing_unfinished, eventually,
};

const MIB: usize = 1024 * 1024;

/// More than the disk holds, in uploads of any size used here.
const MANY: usize = 1000;

/// Mounts the disk, says so, and stays until this process closes its input.
const HOLD_DISK: &str = r#"mkdir -p "$0" && mount -t tmpfs -o size=12m tmpfs "$0" && echo mounted && exec cat"#;

struct SmallDisk {
    installation: Installation,
    holder: Child,
}

impl SmallDisk {
    fn new() -> Self {
        // Without a cache, every download is read from the disk.
        let installation = Installation::new("cache.memory = 0");
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", HOLD_DISK]).arg(installation.data_dir());
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare can be started");
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(
            said, "mounted\n",
            "the test of a full disk mounts a tmpfs: it needs root with CAP_SYS_ADMIN, or unprivileged user namespaces"
        );
        Self { installation, holder }
    }

    /// A command that sees the disk.
    fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--mount", "--target", &self.holder.id().to_string()]);
        if !rustix::process::geteuid().is_root() {
            inside.args(["--user", "--preserve-credentials"]);
        }
        inside.arg("--").arg(command.get_program()).args(command.get_args());
        inside
    }

    fn start(&self) -> Server {
        self.installation.token_by(self.command(&self.installation.token_command()));
        Server::start(&self.installation, self.command(&self.installation.command()))
    }

    /// The data folder, as it is seen from outside.
    fn data_dir(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.installation.data_dir().strip_prefix("/").unwrap())
    }

    fn assert_sound(&self) -> Inventory {
        assert_nothing_unfinished(&self.data_dir().join("media"));
        Inventory::take(&self.data_dir())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Uploads bodies of this size until the disk is full. Returns what was acknowledged, and the refusal.
fn upload_until_refused(client: &Client, random: &mut Random, size: usize) -> (Vec<(String, Vec<u8>)>, Response) {
    let mut acknowledged = Vec::new();
    for _ in 0..MANY {
        let body = random.bytes(size);
        let response = client.upload("full", &body).unwrap();
        if response.status != 200 {
            return (acknowledged, response);
        }
        acknowledged.push((response.content_uri(), body));
    }
    panic!("the disk never became full");
}

fn assert_says_that_the_disk_is_full(refusal: &Response) {
    let text = String::from_utf8_lossy(&refusal.body);
    assert_eq!(refusal.status, 507, "{text}");
    assert_eq!(refusal.field("errcode"), "M_UNKNOWN");
    assert!(refusal.field("error").contains("disk is full"), "{text}");
}

/// Writes a file until nothing more fits.
fn fill(path: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn large_uploads_to_a_full_disk_are_refused_and_leave_nothing() {
    let disk = SmallDisk::new();
    let server = disk.start();
    let client = server.client();
    let mut random = Random::new(Random::seed());

    let (acknowledged, refusal) = upload_until_refused(&client, &mut random, MIB);

    assert_says_that_the_disk_is_full(&refusal);
    assert_eq!(disk.assert_sound().media.len(), acknowledged.len());
    for (uri, body) in &acknowledged {
        client.assert_whole(uri, body);
    }
}

#[test]
fn small_uploads_to_a_full_disk_are_refused_and_leave_nothing() {
    let disk = SmallDisk::new();
    let server = disk.start();
    let client = server.client();
    let mut random = Random::new(Random::seed());

    let (acknowledged, refusal) = upload_until_refused(&client, &mut random, 50 * 1024);

    assert_says_that_the_disk_is_full(&refusal);
    assert_eq!(disk.assert_sound().media.len(), acknowledged.len());
    for (uri, body) in &acknowledged {
        client.assert_whole(uri, body);
    }
}

#[test]
fn an_upload_that_fills_the_disk_gives_its_uri_back() {
    let disk = SmallDisk::new();
    let server = disk.start();
    let client = server.client();
    let body = Random::new(Random::seed()).bytes(20 * MIB);
    let [plain, resumable] = [client.create().unwrap(), client.create().unwrap()];
    let mut reader = client.connect();
    reader.send(client.download_head(&plain).as_bytes()).unwrap();

    assert_says_that_the_disk_is_full(&client.put(&plain, &body).unwrap());
    let mut upload = client.connect();
    upload.send(client.resumable_head(&resumable, body.len()).as_bytes()).unwrap();
    upload.send(&body).unwrap();
    assert_says_that_the_disk_is_full(&upload.response().unwrap());

    let head = reader.head().unwrap();
    assert_eq!((head.status, head.length), (200, body.len()));
    assert!(reader.read_to_end().len() < body.len());
    disk.assert_sound();
    for uri in [&plain, &resumable] {
        // Giving it back needs room in the database, which there may be only when the file is gone.
        eventually("the reservation is free", || client.progress(uri).unwrap() == (204, Some(0)));
        assert_eq!(client.put(uri, &body[..MIB]).unwrap().status, 200);
        client.assert_whole(uri, &body[..MIB]);
    }
    assert_eq!(disk.assert_sound().media.len(), 2);
}

#[test]
fn reservations_on_a_full_disk_work_again_when_there_is_room() {
    let disk = SmallDisk::new();
    let server = disk.start();
    let client = server.client();
    let mut random = Random::new(Random::seed());
    let reserved = client.create().unwrap();
    let ballast = disk.data_dir().join("ballast");
    fill(&ballast);
    let (stored, _) = upload_until_refused(&client, &mut random, 50 * 1024);

    for size in [1000, 50 * 1024, MIB] {
        assert_says_that_the_disk_is_full(&client.put(&reserved, &random.bytes(size)).unwrap());
    }
    fs::remove_file(&ballast).unwrap();

    let body = random.bytes(MIB);
    eventually("the reservation is free", || client.progress(&reserved).unwrap() == (204, Some(0)));
    assert_eq!(client.put(&reserved, &body).unwrap().status, 200);
    client.assert_whole(&reserved, &body);
    assert_eq!(disk.assert_sound().media.len(), stored.len() + 1);
}

#[test]
fn when_there_is_room_again_uploads_work_without_a_restart() {
    let disk = SmallDisk::new();
    let server = disk.start();
    let client = server.client();
    let mut random = Random::new(Random::seed());
    let ballast = disk.data_dir().join("ballast");
    let earlier = random.bytes(MIB);
    let earlier_uri = client.upload("earlier", &earlier).unwrap().content_uri();
    fill(&ballast);
    // What the database has room for in its log is used up; from then on every upload, of any size, is refused.
    let (acknowledged, _) = upload_until_refused(&client, &mut random, 50 * 1024);
    thread::scope(|scope| {
        // Many at once are committed together: more than SQLite keeps in memory until the commit.
        for number in 0..64 {
            let size = if number % 16 == 0 { MIB } else { 60 * 1024 };
            let (client, mut random) = (client.clone(), Random::new(number));
            scope.spawn(move || {
                for _ in 0..4 {
                    let refusal = client.upload("refused", &random.bytes(size)).unwrap();
                    assert_says_that_the_disk_is_full(&refusal);
                }
            });
        }
    });
    client.assert_whole(&earlier_uri, &earlier);
    assert_eq!(disk.assert_sound().media.len(), 1 + acknowledged.len());

    fs::remove_file(&ballast).unwrap();

    for size in [1000, 50 * 1024, 200 * 1024, MIB] {
        let body = random.bytes(size);
        let uri = client.upload("again", &body).unwrap().content_uri();
        client.assert_whole(&uri, &body);
    }
    assert_eq!(disk.assert_sound().media.len(), 1 + acknowledged.len() + 4);
}

#[test]
fn a_server_that_starts_on_a_full_disk_serves_what_it_has() {
    let disk = SmallDisk::new();
    let server = disk.start();
    let bodies = [1000, MIB].map(|size| Random::new(8).bytes(size));
    let uris = bodies.each_ref().map(|body| server.client().upload("before", body).unwrap().content_uri());
    let ballast = disk.data_dir().join("ballast");
    fill(&ballast);
    let mut random = Random::new(Random::seed());
    let (fitted, _) = upload_until_refused(&server.client(), &mut random, 100);
    server.kill();

    let server = disk.start();

    for (uri, body) in uris.iter().zip(&bodies) {
        server.client().assert_whole(uri, body);
    }
    assert_says_that_the_disk_is_full(&server.client().upload("refused", &bodies[1]).unwrap());
    fs::remove_file(&ballast).unwrap();
    server.client().upload("again", &bodies[1]).unwrap().content_uri();
    assert_eq!(disk.assert_sound().media.len(), bodies.len() + fitted.len() + 1);
}
