//! The access token: where it comes from, and where it never goes.

use crate::{
    peer::{Act, Peer},
    program::{Program, Ran},
};

const SECRET: &str = "s3cret_t0ken";

fn shows_secret(ran: &Ran) -> bool {
    ran.stderr.contains(SECRET) || String::from_utf8_lossy(&ran.stdout).contains(SECRET)
}

/// The token that the peer was shown by this run.
async fn shown(variables: &[(&'static str, &str)], arguments: &[&str]) -> String {
    let peer = Peer::start([Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/abc"}"#)]).await;
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let program = Program::with(variables.chain([("MXC_SERVER", peer.url())]));
    program.write("token", "of-file\n");
    program.write("other-token", "of-other-file");
    assert_eq!(program.run(arguments).await.line(), "mxc://example.org/abc");
    peer.asked()[0].header("authorization").to_owned()
}

#[tokio::test]
async fn it_comes_from_the_command_line_or_the_environment_or_a_file() {
    let token = ("MXC_TOKEN", "of-variable");
    let file = ("MXC_TOKEN_FILE", "token");

    assert_eq!(shown(&[token], &["create"]).await, "Bearer of-variable");
    assert_eq!(shown(&[file], &["create"]).await, "Bearer of-file");
    assert_eq!(shown(&[], &["create", "--token", "of-argument"]).await, "Bearer of-argument");
    assert_eq!(shown(&[], &["create", "--token-file", "token"]).await, "Bearer of-file");
    assert_eq!(shown(&[], &["create", "--token", "-hyphen"]).await, "Bearer -hyphen");
}

#[tokio::test]
async fn what_is_nearer_goes_first() {
    let token = ("MXC_TOKEN", "of-variable");
    let file = ("MXC_TOKEN_FILE", "token");

    assert_eq!(shown(&[token, file], &["create"]).await, "Bearer of-variable");
    assert_eq!(shown(&[token, file], &["create", "--token-file", "other-token"]).await, "Bearer of-other-file");
    assert_eq!(shown(&[token, file], &["create", "--token", "of-argument"]).await, "Bearer of-argument");
    assert_eq!(shown(&[("MXC_TOKEN", ""), file], &["create"]).await, "Bearer of-file");
}

#[tokio::test]
async fn it_is_never_printed() {
    let refusal = Act::refuse("401 Unauthorized", "", "M_UNKNOWN_TOKEN");
    let peer = Peer::start([refusal.clone(), refusal]).await;
    let variables = [("MXC_SERVER", peer.url()), ("MXC_TOKEN", SECRET.to_owned())];
    let program = Program::with(variables);

    for arguments in [
        &["--help"][..],
        &["upload", "--help"],
        &["create"],
        &["create", "--json"],
        &["create", "--token", SECRET, "--token", SECRET],
        &["create", "--token", SECRET, "--token-file", "x"],
        &["create", "--token", SECRET, "superfluous"],
        &["create", "--tokn=s3cret_t0ken"],
        &["create", "--token", "s3cret_t0ken\nX-Injected: yes"],
        &["create", "--server", "ftp://x", "--token", SECRET],
    ] {
        let ran = program.run(arguments).await;
        assert!(!shows_secret(&ran), "{arguments:?}: {ran:?}");
    }
}

#[tokio::test]
async fn a_token_file_that_cannot_be_read_is_named() {
    let variables = [("MXC_SERVER", "http://127.0.0.1:1"), ("MXC_TOKEN_FILE", "nothing")];
    let program = Program::with(variables.map(|(name, value)| (name, value.to_owned())));

    let ran = program.run(&["create"]).await;

    assert!(ran.error().starts_with("reading the access token from nothing: "), "{ran:?}");
}
