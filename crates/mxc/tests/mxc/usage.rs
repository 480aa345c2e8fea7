//! Command lines that are wrong: exit code 2, before anything is asked of a server.

use crate::{peer::Peer, program::Program};

#[tokio::test]
async fn a_wrong_command_line_is_a_usage_error() {
    let peer = Peer::start([]).await;
    let program = Program::of_peer(&peer);

    for arguments in [
        &[][..],
        &["frobnicate"],
        &["upload"],
        &["put", "https://example.org/a", "-"],
        &["download", "mxc://example.org/../x"],
        &["download", "mxc://example.org/abc", "--wait", "soon"],
        &["download", "mxc://example.org/abc", "-o", "-", "--json"],
        &["thumbnail", "mxc://example.org/abc", "--width", "0", "--height", "1"],
        &["thumbnail", "mxc://example.org/abc", "--width", "1"],
        &["thumbnail", "mxc://example.org/abc", "--width", "1", "--height", "1", "--method", "squeeze"],
        &["create", "--token", "a", "--token-file", "b"],
        &["create", "--even-if-kept"],
        &["upload", "-", "--even-if-kept"],
        &["upload", "-", "--encrypt", "--content-type", "text/plain"],
        &["upload", "-", "--encrypt", "--filename", "a"],
        &["download"],
        &["rm"],
        &["rm", "https://example.org/a"],
    ] {
        let ran = program.run(arguments).await;
        assert_eq!((ran.code, &ran.stdout[..]), (Some(2), &b""[..]), "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }

    assert_eq!(peer.asked().len(), 0);
}

#[tokio::test]
async fn server_and_token_are_needed() {
    let nothing = Program::with([]);
    let no_token = Program::with([("MXC_SERVER", "http://127.0.0.1:1".to_owned())]);

    let without_server = nothing.run(&["create"]).await;
    let without_token = no_token.run(&["create"]).await;

    assert_eq!(without_server.code, Some(2));
    assert!(without_server.stderr.contains("MXC_SERVER"), "{without_server:?}");
    assert_eq!(without_token.code, Some(2));
    assert!(without_token.stderr.contains("MXC_TOKEN"), "{without_token:?}");
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    let program = Program::with([]);

    for arguments in [["--help"], ["--version"]] {
        let ran = program.run(&arguments).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert!(!ran.stdout.is_empty());
    }
}
