//! `mxc upload --restricted`, `mxc create --restricted` and `mxc copy`

use crate::{
    peer::{Act, Peer},
    program::Program,
    server::Server,
};

const MXC: &str = "mxc://example.org/abc";

#[tokio::test]
async fn on_a_real_server_it_is_the_users_alone_and_so_is_its_copy() {
    let server = Server::start().await;
    let (alice, bob) = (Program::of(&server, "alice").await, Program::of(&server, "bob").await);
    alice.write("a.txt", "hello");
    let uploaded = alice.run(&["upload", "a.txt", "--restricted"]).await.line().to_owned();
    let created = alice.run(&["create", "--restricted"]).await.line().to_owned();
    alice.run(&["put", &created, "a.txt"]).await.result();

    let copied = alice.run(&["copy", &uploaded]).await.line().to_owned();

    for mxc in [&uploaded, &created, &copied] {
        assert_eq!(alice.run(&["download", mxc, "-o", "-"]).await.result(), b"hello");
        assert!(bob.run(&["download", mxc]).await.error().contains("403 M_UNAUTHORIZED"));
        let error = bob.run(&["copy", mxc]).await.error().to_owned();
        assert!(error.starts_with(&format!("copying {mxc}: 403 M_UNAUTHORIZED")), "{error}");
    }
    assert_eq!(alice.run(&["copy", &uploaded, "--json"]).await.object().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn an_encrypted_file_can_be_restricted_too() {
    let server = Server::start().await;
    let (alice, bob) = (Program::of(&server, "alice").await, Program::of(&server, "bob").await);
    alice.write("a.txt", "hello");

    let file = alice.run(&["upload", "a.txt", "--encrypt", "--restricted", "--json"]).await.object();

    let mxc = file["content_uri"].as_str().unwrap();
    assert!(bob.run(&["download", mxc]).await.error().contains("403 M_UNAUTHORIZED"));
}

#[tokio::test]
async fn a_server_that_would_show_it_to_everybody_has_an_exit_code_of_its_own() {
    for arguments in [&["upload", "a.txt", "--restricted"][..], &["create", "--restricted"], &["copy", MXC]] {
        let peer = Peer::start([Act::refuse("404 Not Found", "", "M_UNRECOGNIZED")]).await;
        let program = Program::of_peer(&peer);
        program.write("a.txt", "a");

        let ran = program.run(arguments).await;

        assert_eq!((ran.code, &ran.stdout[..]), (Some(3), &b""[..]), "{ran:?}");
        assert!(ran.stderr.contains("the server does not have restricted media (MSC3911)"), "{ran:?}");
    }
}

#[tokio::test]
async fn it_cannot_be_ephemeral_as_well() {
    let peer = Peer::start([]).await;
    let program = Program::of_peer(&peer);

    let ran = program.run(&["create", "--restricted", "--ephemeral"]).await;

    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(peer.lines().is_empty());
}
