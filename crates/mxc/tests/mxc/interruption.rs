//! Ctrl-C, and other ways to be ended.

use std::process::Stdio;

use rustix::process::Signal;

use crate::{
    peer::{Act, Peer},
    program::{Program, Running},
};

const MXC: &str = "mxc://example.org/abc";

#[tokio::test]
async fn a_download_that_is_ended_leaves_no_stump() {
    for (signal, word) in [(Signal::INT, "interrupted"), (Signal::TERM, "terminated"), (Signal::HUP, "gone")] {
        let peer = Peer::start([Act::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123").and_hang()]).await;
        let program = Program::of_peer(&peer);
        let running = program.start(&["download", MXC, "-o", "a.txt"]);
        program.is_writing().await;

        running.signal(signal);
        let ran = running.ended().await;

        assert!(ran.error().ends_with(word), "{ran:?}");
        assert_eq!(program.files(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_upload_ends_although_its_input_does_not() {
    let peer = Peer::start([]).await;
    let program = Program::of_peer(&peer);
    let mut command = program.command(&["upload", "-"]);
    command.stdin(Stdio::piped());
    let mut running = Running::of(command);
    let open_end = running.0.stdin.take();
    tintype_testing::until("the upload has begun", async || !peer.asked().is_empty()).await;

    running.signal(Signal::INT);
    let ran = running.ended().await;

    assert_eq!(ran.code, Some(1), "{ran:?}");
    drop(open_end);
}
