//! Errors: one line for people, one object for scripts.

use serde_json::{Value, json};

use crate::{
    peer::{Act, Peer},
    program::Program,
    server::Server,
};

#[tokio::test]
async fn an_error_says_what_status_code_and_text() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;

    let ran = program.run(&["download", "mxc://localhost/nothing"]).await;

    let expected = "downloading mxc://localhost/nothing: 404 M_NOT_FOUND: There is no such media here";
    assert_eq!(ran.error(), expected);
}

#[tokio::test]
async fn scripts_get_status_and_code_apart() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;

    let ran = program.run(&["download", "mxc://localhost/nothing", "--json"]).await;

    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, &ran.stdout[..]), (Some(1), &b""[..]));
    assert_eq!((&error["status"], &error["errcode"]), (&json!(404), &json!("M_NOT_FOUND")));
    assert!(error["error"].as_str().unwrap().starts_with("downloading mxc://localhost/nothing: 404"));
}

#[tokio::test]
async fn a_server_cannot_move_the_cursor() {
    let body = r#"{"errcode":"M_\u001b[2J","error":"two\nlines\u001b]0;title\u0007"}"#;
    let peer = Peer::start([Act::answer("403 Forbidden", "", body)]).await;

    let ran = Program::of_peer(&peer).run(&["create"]).await;

    assert!(!ran.error().contains(|character: char| character.is_control()), "{ran:?}");
    assert!(ran.error().starts_with("reserving a URI: 403 M_"), "{ran:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_not_there() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let program = Program::with([("MXC_SERVER", url), ("MXC_TOKEN", "token".to_owned())]);

    let ran = program.run(&["create"]).await;

    let expected = "reserving a URI: the server cannot be reached: Connection refused (os error 111)";
    assert_eq!(ran.error(), expected);
}

#[tokio::test]
async fn a_result_that_nobody_takes_is_an_error() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = server.client("alice").await.upload(vec![0; 3_000_000]).await.unwrap().to_string();

    let mut running = program.start(&["download", &mxc, "-o", "-"]);
    drop(running.0.stdout.take());
    let ran = running.ended().await;

    assert!(ran.error().contains("Broken pipe"), "{ran:?}");
}
