//! `tintype token`

use serde_json::json;

use crate::installation::{Installation, Ran};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// The token, which stands alone on stdout.
fn token(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let token = ran.stdout.strip_suffix('\n').expect("it is a line");
    assert!(token.len() > 30 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");
    token
}

#[tokio::test]
async fn a_token_works_whether_it_was_made_before_the_server_ran_or_while_it_runs() {
    let installation = Installation::with("");
    let before = installation.run(&["token", "alice"]);
    let serving = installation.serve().await;
    let while_running = installation.run(&["token", "alice"]);

    for ran in [&before, &while_running] {
        let whoami = serving.client().with_token(token(ran)).get(WHOAMI).await.json();
        assert_eq!((&whoami["user_id"], &whoami["is_guest"]), (&json!("@alice:localhost"), &json!(false)));
    }
    assert_ne!(token(&before), token(&while_running));
}

#[tokio::test]
async fn a_guest_is_a_guest() {
    let installation = Installation::with("");
    let serving = installation.serve().await;

    let ran = installation.run(&["token", "visitor", "--guest"]);

    let whoami = serving.client().with_token(token(&ran)).get(WHOAMI).await.json();
    assert_eq!((&whoami["user_id"], &whoami["is_guest"]), (&json!("@visitor:localhost"), &json!(true)));
}

#[test]
fn an_administrator_is_no_guest() {
    let installation = Installation::empty();

    token(&installation.run(&["token", "root", "--admin"]));
    assert_eq!(installation.run(&["token", "root", "--admin", "--guest"]).code, Some(2));
}

#[test]
fn where_a_homeserver_has_the_accounts_there_are_no_tokens() {
    let installation = Installation::with("[[server]]\nname = 'example.org'\nhomeserver = 'http://127.0.0.1:8008'");

    for name in ["alice", "@alice:example.org"] {
        let ran = installation.run(&["token", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        assert!(ran.stderr.contains("homeserver"), "{}", ran.stderr);
    }
}

#[test]
fn among_several_servers_the_whole_user_id_is_needed() {
    let installation = Installation::with("[[server]]\nname = 'one.example'\n[[server]]\nname = 'two.example'");

    assert_eq!(installation.run(&["token", "alice"]).code, Some(1));
    token(&installation.run(&["token", "@alice:two.example"]));
    assert_eq!(installation.run(&["token", "@alice:three.example"]).code, Some(1));
}

#[test]
fn what_cannot_be_a_user_has_no_token() {
    for name in ["", "@", "@:localhost", "@alice", "alice:localhost:x", "Alice", "a b", "a\nb", "☃"] {
        let ran = Installation::empty().run(&["token", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{name:?}");
    }
}
