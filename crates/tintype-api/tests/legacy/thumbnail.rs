//! `GET /_matrix/media/{v3,r0,v1}/thumbnail/{serverName}/{mediaId}`

use tintype_testing::{
    TestServer, paths,
    pictures::{look, png},
};

const SIZE: &str = "width=32&height=32&method=crop";

#[tokio::test]
async fn without_a_freeze_anybody_sees_thumbnails_on_every_old_path() {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(800, 600)).await;

    for version in ["v3", "r0", "v1"] {
        let answer =
            server.anonymous().get(paths::legacy_thumbnail(&mxc, SIZE).replace("/v3/", &format!("/{version}/"))).await;
        assert_eq!(look(answer.bytes()), ("png", 32, 32), "{version}");
        assert_eq!(answer.header("content-disposition"), "inline; filename=\"thumbnail.png\"");
    }
}

#[tokio::test]
async fn thumbnails_freeze_with_their_media_even_if_they_were_made_before() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(800, 600)).await;
    assert_eq!(alice.get(paths::thumbnail(&mxc, SIZE)).await.status(), 200);

    let frozen = server.anonymous().get(paths::legacy_thumbnail(&mxc, SIZE)).await;

    assert_eq!(frozen.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn the_old_path_asks_for_a_size_too() {
    let server = TestServer::with("legacy.freeze = 'never'").await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(800, 600)).await;

    let missing = server.anonymous().get(paths::legacy_thumbnail(&mxc, "width=32")).await;
    let nonsense = server.anonymous().get(paths::legacy_thumbnail(&mxc, "width=32&height=none")).await;

    assert_eq!(missing.error(), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(nonsense.error(), (400, "M_UNKNOWN".to_owned()));
}
