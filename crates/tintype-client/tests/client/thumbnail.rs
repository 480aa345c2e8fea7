//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`

use tintype_client::{ErrorCode, Thumbnail};
use tintype_testing::pictures;

use crate::{
    peer::{Act, Peer},
    server::{Server, mxc},
};

#[tokio::test]
async fn a_picture_comes_in_the_size_and_shape_that_was_asked_for() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.upload(pictures::png(400, 200)).await.unwrap();

    for (thumbnail, size) in [
        (Thumbnail::scale(100, 50), ("png", 100, 50)),
        (Thumbnail::scale(100, 100), ("png", 200, 100)),
        (Thumbnail::crop(64, 64), ("png", 64, 64)),
        (Thumbnail::crop(64, 64).animated(), ("png", 64, 64)),
    ] {
        let download = alice.thumbnail(&mxc, thumbnail).await.unwrap();
        assert_eq!(download.content_type(), Some("image/png"));
        assert_eq!(pictures::look(&download.bytes(1_000_000).await.unwrap()), size, "{thumbnail:?}");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_in_the_query() {
    let peer = Peer::start([Act::answer("200 OK", "", "x"), Act::answer("200 OK", "", "x")]).await;

    peer.client().thumbnail(&mxc(), Thumbnail::scale(1, 2)).await.unwrap();
    peer.client().thumbnail(&mxc(), Thumbnail::crop(3, 4).animated()).await.unwrap();

    let path = "GET /_matrix/client/v1/media/thumbnail/example.org/abc";
    assert_eq!(peer.asked()[0].line, format!("{path}?width=1&height=2&method=scale HTTP/1.1"));
    assert_eq!(peer.asked()[1].line, format!("{path}?width=3&height=4&method=crop&animated=true HTTP/1.1"));
}

#[tokio::test]
async fn what_is_no_picture_has_no_thumbnail() {
    let server = Server::start().await;
    let alice = server.client("alice").await;
    let mxc = alice.upload("no picture").await.unwrap();

    let error = alice.thumbnail(&mxc, Thumbnail::crop(32, 32)).await.unwrap_err();

    assert_eq!((error.status(), error.errcode()), (Some(400), Some(&ErrorCode::UNKNOWN)));
}
