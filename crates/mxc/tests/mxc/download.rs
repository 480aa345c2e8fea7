//! `mxc download`

use std::{fs, io::Read as _};

use bytes::Bytes;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tintype_client::{Client, Mxc, Resumable, Source};
use tintype_testing::pattern;
use tokio::sync::mpsc;

use crate::{
    peer::{Act, Peer},
    program::Program,
    relay::Cut,
    server::Server,
};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

const MXC: &str = "mxc://example.org/abc";

async fn uploaded(client: &Client, name: Option<&str>) -> Mxc {
    let upload = client.upload(pattern(LONG)).content_type("text/plain");
    let upload = if let Some(name) = name { upload.filename(name) } else { upload };
    upload.await.expect("it is uploaded")
}

#[tokio::test]
async fn it_is_called_what_its_uploader_called_it() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("ein Brief.txt")).await;

    let ran = program.run(&["download", &mxc.to_string()]).await;

    assert_eq!(ran.line(), "ein Brief.txt");
    assert_eq!(program.files(), ["ein Brief.txt"]);
    assert!(program.read("ein Brief.txt") == pattern(LONG));
}

#[tokio::test]
async fn without_a_name_it_is_called_by_its_media_id() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, None).await;

    program.run(&["download", &mxc.to_string()]).await.line();

    assert_eq!(program.files(), [mxc.media_id.as_str().trim_start_matches('-')]);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_leads_nowhere() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let alice = server.client("alice").await;
    fs::create_dir(program.path("inner")).unwrap();

    for (name, left) in [("../outer.txt", "outer.txt"), ("/tmp/x/.hidden", "hidden"), ("a\u{1b}[2Jb", "a[2Jb")] {
        let mxc = uploaded(&alice, Some(name)).await;
        let ran = program.run(&["download", &mxc.to_string(), "--output", "inner"]).await;
        assert_eq!(ran.line(), format!("inner/{left}"));
    }

    assert_eq!(program.files(), ["inner"]);
    assert!(program.read("inner/outer.txt") == pattern(LONG));
}

#[tokio::test]
async fn it_is_written_where_it_was_asked_for() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("a.txt")).await.to_string();

    let to_file = program.run(&["download", &mxc, "-o", "b.bin"]).await;
    let to_stdout = program.run(&["download", &mxc, "-o", "-"]).await;

    assert_eq!(to_file.line(), "b.bin");
    assert!(program.read("b.bin") == pattern(LONG));
    assert!(to_stdout.result() == pattern(LONG));
    assert_eq!(program.files(), ["b.bin"]);
}

#[tokio::test]
async fn scripts_learn_what_it_is() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("../a.txt")).await.to_string();

    let object = program.run(&["download", &mxc, "--json"]).await.object();

    let expected = json!({ "path": "a.txt", "size": LONG, "content_type": "text/plain", "filename": "../a.txt" });
    assert_eq!(object, expected);
}

#[tokio::test]
async fn a_file_that_exists_is_kept_unless_it_is_to_be_overwritten() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("a.txt")).await.to_string();
    program.write("a.txt", "mine");

    for arguments in [&["download", &mxc][..], &["download", &mxc, "-o", "a.txt"], &["download", &mxc, "-o", "."]] {
        let ran = program.run(arguments).await;
        assert!(ran.error().ends_with("a.txt exists already; --force overwrites it"), "{ran:?}");
        assert_eq!(program.read("a.txt"), b"mine");
    }
    program.run(&["download", &mxc, "--force"]).await.line();

    assert!(program.read("a.txt") == pattern(LONG));
    assert_eq!(program.files(), ["a.txt"]);
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_kept_too() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("a.txt")).await.to_string();
    std::os::unix::fs::symlink("elsewhere", program.path("a.txt")).unwrap();

    program.run(&["download", &mxc]).await.error();

    assert_eq!(program.files(), ["a.txt"]);
}

#[tokio::test]
async fn a_file_that_appears_meanwhile_is_kept() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let alice = server.client("alice").await;
    let mxc = alice.create().await.unwrap().mxc;
    let (more, pieces) = mpsc::channel(4);
    more.send(Ok(Bytes::from(pattern(LONG)))).await.unwrap();
    let put = alice.put(&mxc, Source::stream(tokio_stream(pieces))).resumable(Resumable::Never);
    let put = tokio::spawn(put.into_future());
    let running = program.start(&["download", &mxc.to_string(), "-o", "a.txt", "--wait", "1m"]);
    program.is_writing().await;

    program.write("a.txt", "mine");
    drop(more);
    put.await.unwrap().unwrap();

    let ran = running.ended().await;
    assert!(ran.error().ends_with("a.txt exists by now; --force overwrites it"), "{ran:?}");
    assert_eq!(program.read("a.txt"), b"mine");
    assert_eq!(program.files(), ["a.txt"]);
}

fn tokio_stream(
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send {
    futures_util::stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)))
}

#[tokio::test]
async fn a_new_file_may_be_read_by_whom_the_mask_allows() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("a.txt")).await.to_string();
    program.write("as usual", "");

    program.run(&["download", &mxc]).await.line();

    let mode = |name| fs::metadata(program.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("a.txt"), mode("as usual"));
}

#[tokio::test]
async fn a_pipe_is_written_to_and_not_replaced() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("a.txt")).await.to_string();
    let pipe = program.path("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        fs::File::open(pipe).and_then(|mut pipe| pipe.read_to_end(&mut bytes)).map(|_| bytes)
    });

    let ran = program.run(&["download", &mxc, "-o", "pipe"]).await;

    assert_eq!(ran.result(), b"");
    assert!(reading.await.unwrap().unwrap() == pattern(LONG));
    assert_eq!(program.files(), ["pipe"]);
}

#[tokio::test]
async fn a_download_that_is_cut_resumes_and_says_so() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = uploaded(&server.client("alice").await, Some("a.txt")).await.to_string();
    server.relay.cut(Cut::Downwards(1_500_000));

    let ran = program.run(&["download", &mxc]).await;

    assert_eq!((ran.code, &ran.stdout[..]), (Some(0), &b"a.txt\n"[..]), "{ran:?}");
    assert!(ran.stderr.contains("\nmxc: resuming at "), "{ran:?}");
    assert!(program.read("a.txt") == pattern(LONG));
}

#[tokio::test]
async fn a_download_that_fails_in_the_middle_leaves_nothing() {
    let part = Act::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123");
    let peer = Peer::start([part, Act::refuse("404 Not Found", "", "M_NOT_FOUND")]).await;
    let program = Program::of_peer(&peer);

    let ran = program.run(&["download", MXC, "--json"]).await;

    assert_eq!((ran.code, &ran.stdout[..]), (Some(1), &b""[..]));
    assert_eq!(peer.asked()[1].header("range"), "bytes=4-");
    assert_eq!(program.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_was_to_be_overwritten_survives_a_download_that_fails() {
    let part = Act::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123");
    let peer = Peer::start([part, Act::refuse("404 Not Found", "", "M_NOT_FOUND")]).await;
    let program = Program::of_peer(&peer);
    program.write("a.txt", "mine");

    let ran = program.run(&["download", MXC, "-o", "a.txt", "--force"]).await;

    assert_eq!(ran.code, Some(1));
    assert_eq!(program.read("a.txt"), b"mine");
    assert_eq!(program.files(), ["a.txt"]);
}

#[tokio::test]
async fn media_that_changes_meanwhile_is_downloaded_anew() {
    let part = Act::raw("HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 10\r\n\r\n0123456");
    let other = Act::answer("200 OK", "ETag: \"two\"\r\n", "abcde");
    let peer = Peer::start([part, other.clone(), other]).await;
    let program = Program::of_peer(&peer);

    let ran = program.run(&["download", MXC]).await;

    assert_eq!((ran.code, &ran.stdout[..]), (Some(0), &b"abc\n"[..]), "{ran:?}");
    assert!(ran.stderr.contains("the media has changed"), "{ran:?}");
    assert_eq!(program.read("abc"), b"abcde");
}

#[tokio::test]
async fn it_waits_for_the_upload_if_it_is_told_to() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let alice = server.client("alice").await;
    let mxc = alice.create().await.unwrap().mxc;

    let running = program.start(&["download", &mxc.to_string(), "--wait", "1m"]);
    alice.put(&mxc, pattern(LONG)).filename("late.bin").await.unwrap();
    let ran = running.ended().await;

    assert_eq!(ran.line(), "late.bin");
    assert!(program.read("late.bin") == pattern(LONG));
}

#[tokio::test]
async fn when_nothing_comes_in_time_it_says_so() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = server.client("alice").await.create().await.unwrap().mxc;

    let ran = program.run(&["download", &mxc.to_string(), "--wait", "0s"]).await;

    assert!(ran.error().starts_with(&format!("downloading {mxc}: 504 M_NOT_YET_UPLOADED: ")), "{ran:?}");
    assert_eq!(program.files(), Vec::<String>::new());
}
