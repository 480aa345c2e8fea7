//! `mxc upload`

use serde_json::json;
use tintype_client::Mxc;
use tintype_testing::{paths, pattern, pictures};

use crate::{program::Program, server::Server};

/// More than any buffer on the way.
const LONG: usize = 3 * 1024 * 1024 + 7;

#[tokio::test]
async fn a_file_is_uploaded_with_its_name_and_the_type_of_its_extension() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    program.write("Ein Bild.png", pictures::png(20, 10));

    let ran = program.run(&["upload", "Ein Bild.png"]).await;

    let mxc: Mxc = ran.line().parse().unwrap();
    let bob = server.client("bob").await;
    let download = bob.download(&mxc).await.unwrap();
    assert_eq!((download.content_type(), download.filename()), (Some("image/png"), Some("Ein Bild.png")));
    assert!(download.bytes(LONG).await.unwrap() == pictures::png(20, 10));
}

#[tokio::test]
async fn type_and_name_can_be_said() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    program.write("a.png", "no picture");
    let bob = server.client("bob").await;

    let said = program.run(&["upload", "a.png", "--content-type", "text/plain", "--filename", "b.txt"]).await;
    let unnamed = program.run(&["upload", "a.png", "--filename", ""]).await;

    let download = bob.download(&said.line().parse().unwrap()).await.unwrap();
    assert_eq!((download.content_type(), download.filename()), (Some("text/plain"), Some("b.txt")));
    let download = bob.download(&unnamed.line().parse().unwrap()).await.unwrap();
    assert_eq!((download.content_type(), download.filename()), (Some("image/png"), None));
}

#[tokio::test]
async fn standard_input_is_uploaded_without_a_name() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;

    let ran = program.run_with_input(&["upload", "-"], &pattern(LONG)).await;

    let mxc = ran.line().parse().unwrap();
    let answer = server.tintype.user("bob").await.get(paths::download(&mxc)).await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment");
    assert!(answer.bytes() == &pattern(LONG));
}

#[tokio::test]
async fn scripts_get_an_object() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;
    program.write("a.txt", "a");

    let object = program.run(&["--json", "upload", "a.txt"]).await.object();

    let mxc: Mxc = object["content_uri"].as_str().unwrap().parse().unwrap();
    assert_eq!(object, json!({ "content_uri": mxc.to_string() }));
}

#[tokio::test]
async fn what_cannot_be_read_is_not_uploaded() {
    let server = Server::start().await;
    let program = Program::of(&server, "alice").await;

    assert!(program.run(&["upload", "nothing"]).await.error().starts_with("opening nothing: "));
    assert!(program.run(&["upload", "."]).await.error().starts_with("opening .: "));
}
