//! `mxc rm`

use serde_json::{Value, json};

use crate::{
    peer::{Act, Peer},
    program::Program,
    server::Server,
};

const MXC: &str = "mxc://example.org/abc";

fn acts() -> [Act; 3] {
    [
        Act::answer("200 OK", "", "{}"),
        Act::refuse("404 Not Found", "", "M_NOT_FOUND"),
        Act::refuse("403 Forbidden", "", "M_FORBIDDEN"),
    ]
}

#[tokio::test]
async fn people_read_which_it_was_and_the_exit_code_is_the_same() {
    let peer = Peer::start(acts()).await;

    let ran = Program::of_peer(&peer).run(&["rm", MXC, MXC, MXC]).await;

    let lines = std::str::from_utf8(ran.result()).unwrap().lines().collect::<Vec<_>>();
    assert_eq!(lines[..2], [format!("{MXC}: deleted"), format!("{MXC}: deleted before, or never there")]);
    assert!(lines[2].starts_with(&format!("{MXC}: not deleted: not yours, not ephemeral, or never there")), "{ran:?}");
}

#[tokio::test]
async fn scripts_get_an_object_for_each() {
    let peer = Peer::start(acts()).await;

    let ran = Program::of_peer(&peer).run(&["rm", "--json", MXC, MXC, MXC]).await;

    let lines = std::str::from_utf8(ran.result()).unwrap().lines();
    let objects = lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let expected = ["deleted", "already_gone", "not_allowed"];
    assert_eq!(objects, expected.map(|outcome| json!({ "content_uri": MXC, "outcome": outcome })));
}

#[tokio::test]
async fn a_server_without_the_endpoint_has_its_own_exit_code() {
    let unrecognized = || Act::refuse("404 Not Found", "", "M_UNRECOGNIZED");
    let peer = Peer::start([unrecognized(), unrecognized()]).await;

    let ran = Program::of_peer(&peer).run(&["rm", MXC]).await;

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("mxc: deleting {MXC}: the server does not have")), "{ran:?}");
}

#[tokio::test]
async fn a_refusal_of_another_kind_is_an_error() {
    let peer = Peer::start([Act::refuse("401 Unauthorized", "", "M_UNKNOWN_TOKEN")]).await;

    let ran = Program::of_peer(&peer).run(&["rm", MXC]).await;

    assert_eq!(ran.error(), format!("deleting {MXC}: 401 M_UNKNOWN_TOKEN: So says the peer"));
}

#[tokio::test]
async fn on_a_real_server_it_is_gone_for_everybody() {
    let server = Server::start().await;
    let (alice, bob) = (Program::of(&server, "alice").await, Program::of(&server, "bob").await);
    alice.write("a.txt", "hello");
    let mxc = alice.run(&["upload", "a.txt", "--ephemeral"]).await.line().to_owned();

    let by_bob = bob.run(&["rm", &mxc, "--json"]).await.object();
    let by_alice = alice.run(&["rm", &mxc, "--json"]).await.object();
    let again = alice.run(&["rm", &mxc, "--json"]).await.object();

    let outcomes = [by_bob, by_alice, again].map(|object| object["outcome"].clone());
    assert_eq!(outcomes, ["not_allowed", "deleted", "already_gone"]);
    assert!(bob.run(&["download", &mxc]).await.error().contains("404 M_NOT_FOUND"));
}
