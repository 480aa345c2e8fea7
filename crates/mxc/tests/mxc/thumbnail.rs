//! `mxc thumbnail`

use tintype_testing::pictures;

use crate::{program::Program, server::Server};

#[tokio::test]
async fn a_thumbnail_is_written_in_the_size_and_shape_that_was_asked_for() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = server.client("alice").await.upload(pictures::png(400, 200)).await.unwrap().to_string();

    let scaled = program.run(&["thumbnail", &mxc, "--width", "100", "--height", "100", "-o", "scaled"]).await;
    let cropped = ["thumbnail", &mxc, "--width", "64", "--height", "64", "--method", "crop", "-o", "-"];
    let cropped = program.run(&cropped).await;
    let named = program.run(&["thumbnail", &mxc, "--width", "32", "--height", "32", "--animated"]).await;

    assert_eq!(scaled.line(), "scaled");
    assert_eq!(pictures::look(&program.read("scaled")), ("png", 200, 100));
    assert_eq!(pictures::look(cropped.result()), ("png", 64, 64));
    assert_eq!(named.line(), "thumbnail.png");
}

#[tokio::test]
async fn what_is_no_picture_has_none() {
    let server = Server::start().await;
    let program = Program::of(&server, "bob").await;
    let mxc = server.client("alice").await.upload("text").await.unwrap().to_string();

    let ran = program.run(&["thumbnail", &mxc, "--width", "32", "--height", "32"]).await;

    let refused = format!("fetching a thumbnail of {mxc}: 400 M_UNKNOWN: ");
    assert!(ran.error().starts_with(&refused), "{ran:?}");
    assert_eq!(program.files(), Vec::<String>::new());
}
