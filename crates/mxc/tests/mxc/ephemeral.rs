//! `mxc upload --ephemeral` and `mxc create --ephemeral`

use crate::{
    peer::{Act, Peer},
    program::Program,
};

const MXC: &str = "mxc://example.org/abc";

fn uploaded() -> Act {
    Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/abc"}"#)
}

/// A peer without the feature.
async fn without_it(then: Option<Act>) -> Peer {
    let unrecognized = || Act::refuse("404 Not Found", "", "M_UNRECOGNIZED");
    let whoami = Act::answer("200 OK", "", r#"{"user_id":"@alice:example.org"}"#);
    Peer::start([Act::versions(""), whoami, unrecognized(), unrecognized()].into_iter().chain(then)).await
}

#[tokio::test]
async fn the_server_is_told_that_it_is_ephemeral() {
    for (arguments, line) in [
        (["upload", "a.txt", "--filename", "", "--ephemeral"].as_slice(), "POST /_matrix/media/v3/upload?"),
        (&["create", "--ephemeral"], "POST /_matrix/media/v1/create?"),
    ] {
        let peer = Peer::start([Act::versions("org.matrix.msc4425"), uploaded()]).await;
        let program = Program::of_peer(&peer);
        program.write("a.txt", "a");

        assert_eq!(program.run(arguments).await.line(), MXC);

        assert_eq!(peer.lines()[1], format!("{line}org.matrix.msc4425.ephemeral=true"));
    }
}

#[tokio::test]
async fn a_server_that_would_keep_it_gets_nothing_and_the_exit_code_says_why() {
    for arguments in [&["upload", "a.txt", "--ephemeral"][..], &["create", "--ephemeral"]] {
        let peer = without_it(None).await;
        let program = Program::of_peer(&peer);
        program.write("a.txt", "a");

        let ran = program.run(arguments).await;

        assert_eq!((ran.code, &ran.stdout[..]), (Some(3), &b""[..]), "{ran:?}");
        assert!(ran.stderr.contains("the server does not have ephemeral media (MSC4425)"), "{ran:?}");
        assert!(!peer.methods().contains(&"POST".to_owned()));
    }
}

#[tokio::test]
async fn who_does_not_mind_that_it_is_kept_can_say_so() {
    let peer = without_it(Some(uploaded())).await;
    let program = Program::of_peer(&peer);
    program.write("a.txt", "a");

    let ran = program.run(&["upload", "a.txt", "--ephemeral", "--even-if-kept"]).await;

    assert_eq!(ran.line(), MXC);
}
