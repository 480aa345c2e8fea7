//! `mxc put`

use serde_json::json;
use tintype_client::{Mxc, Resumable, Retry};
use tintype_testing::pattern;

use crate::{program::Program, relay::Cut, server::Server};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

async fn reserved(program: &Program) -> Mxc {
    program.run(&["create"]).await.line().parse().expect("it is a URI")
}

#[tokio::test]
async fn a_reservation_is_given_its_content() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;
    program.write("a.txt", "hello");

    let ran = program.run(&["put", &mxc.to_string(), "a.txt"]).await;

    assert_eq!(ran.line(), mxc.to_string());
    let download = server.client("bob").await.download(&mxc).await.unwrap();
    assert_eq!((download.content_type(), download.filename()), (Some("text/plain"), Some("a.txt")));
    assert_eq!(download.bytes(10).await.unwrap(), "hello");
}

#[tokio::test]
async fn standard_input_can_be_its_content() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;

    let arguments = ["put", "--json", &mxc.to_string(), "-", "--content-type", "text/x-a", "--filename", "b"];
    let ran = program.run_with_input(&arguments, &pattern(LONG)).await;

    assert_eq!(ran.object(), json!({ "content_uri": mxc.to_string() }));
    let download = server.client("bob").await.download(&mxc).await.unwrap();
    assert_eq!((download.content_type(), download.filename()), (Some("text/x-a"), Some("b")));
    assert!(download.bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn an_upload_that_is_cut_resumes_and_says_so() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;
    program.write("a.bin", pattern(LONG));
    server.relay.cut(Cut::Upwards(1_500_000));

    let ran = program.run(&["put", &mxc.to_string(), "a.bin"]).await;

    assert_eq!((ran.code, &ran.stdout[..]), (Some(0), format!("{mxc}\n").as_bytes()), "{ran:?}");
    assert!(ran.stderr.starts_with("mxc: the connection broke; trying again in "), "{ran:?}");
    assert!(ran.stderr.contains("\nmxc: resuming at "), "{ran:?}");
    assert!(server.client("bob").await.download(&mxc).await.unwrap().bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn scripts_are_not_told_of_resuming() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;
    program.write("a.bin", pattern(LONG));
    server.relay.cut(Cut::Upwards(1_500_000));

    let ran = program.run(&["put", "--json", &mxc.to_string(), "a.bin"]).await;

    assert_eq!(ran.object(), json!({ "content_uri": mxc.to_string() }));
    assert!(server.relay.has_cut());
}

#[tokio::test]
async fn an_upload_that_is_not_to_resume_fails_when_it_is_cut() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;
    program.write("a.bin", pattern(LONG));
    server.relay.cut(Cut::Upwards(1_500_000));

    let ran = program.run(&["put", &mxc.to_string(), "a.bin", "--resumable", "never"]).await;

    assert!(ran.error().starts_with(&format!("uploading a.bin to {mxc}: the connection broke: ")), "{ran:?}");
}

#[tokio::test]
async fn an_upload_of_an_earlier_run_is_continued() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;
    program.write("a.bin", pattern(LONG));
    let alice = server.builder("alice").await.retry(Retry::NEVER).build().unwrap();
    server.relay.cut(Cut::Upwards(1_500_000));
    alice.put(&mxc, pattern(LONG)).resumable(Resumable::Always).await.unwrap_err();

    let ran = program.run(&["put", &mxc.to_string(), "a.bin", "--continue"]).await;

    assert_eq!((ran.code, &ran.stdout[..]), (Some(0), format!("{mxc}\n").as_bytes()), "{ran:?}");
    assert!(ran.stderr.contains("mxc: resuming at "), "{ran:?}");
    assert!(!ran.stderr.contains("mxc: resuming at 0 bytes"), "{ran:?}");
    assert!(server.client("bob").await.download(&mxc).await.unwrap().bytes(LONG).await.unwrap() == pattern(LONG));
}

#[tokio::test]
async fn what_has_content_is_not_given_another() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    let mxc = reserved(&program).await;
    program.write("a.txt", "hello");
    program.run(&["put", &mxc.to_string(), "a.txt"]).await.line();

    let again = program.run(&["put", &mxc.to_string(), "a.txt"]).await;

    let refused = format!("uploading a.txt to {mxc}: 409 M_CANNOT_OVERWRITE_MEDIA: ");
    assert!(again.error().starts_with(&refused), "{again:?}");
}
