//! What a person sees on a terminal.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
};

use rustix::{
    fs::{Mode, OFlags},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use tintype_testing::until;

use crate::{
    peer::{Act, Peer},
    program::{Program, Running},
};

const MXC: &str = "mxc://example.org/abc";

/// A terminal: the end that a program has, and what it shows.
fn terminal() -> (OwnedFd, Arc<Mutex<Vec<u8>>>) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&screen).expect("it is ours");
    unlockpt(&screen).expect("it is ours");
    let name = ptsname(&screen, Vec::new()).expect("it has a name");
    let end = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it opens");
    let shown = Arc::<Mutex<Vec<u8>>>::default();
    std::thread::spawn({
        let shown = Arc::clone(&shown);
        move || {
            let mut buffer = [0; 1024];
            let mut screen = File::from(screen);
            // The last program that has it open closes it.
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                shown.lock().expect("nobody fails with it").extend_from_slice(&buffer[..read]);
            }
        }
    });
    (end, shown)
}

#[tokio::test]
async fn progress_is_drawn_on_standard_error_and_nowhere_else() {
    let peer = Peer::start([Act::raw("HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n0123").and_hang()]).await;
    let program = Program::of_peer(&peer);
    let (end, shown) = terminal();
    let mut command = program.command(&["download", MXC, "-o", "a.txt"]);
    command.stderr(Stdio::from(end)).env("TERM", "xterm");
    let running = Running::of(command);

    until("a bar is drawn", async || String::from_utf8_lossy(&shown.lock().unwrap()).contains("4 B/4.00 KiB")).await;
    running.signal(Signal::INT);

    assert_eq!(running.ended().await.stdout, b"");
}
