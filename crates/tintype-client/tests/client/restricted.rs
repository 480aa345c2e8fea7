//! Restricted media, and copies: `POST /_matrix/client/unstable/org.matrix.msc3911/media/…`

use tintype_client::{Client, Error, ErrorCode};

use crate::{
    peer::{Act, Peer},
    server::{Server, mxc},
};

const UPLOAD: &str = "POST /_matrix/client/unstable/org.matrix.msc3911/media/upload";
const CREATE: &str = "POST /_matrix/client/unstable/org.matrix.msc3911/media/create";
const COPY: &str = "POST /_matrix/client/unstable/org.matrix.msc3911/media/copy/example.org/abc";

fn made() -> Act {
    Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/new"}"#)
}

/// The bytes that a user downloads, or why not.
async fn read(client: &Client, mxc: &tintype_client::Mxc) -> Result<String, Error> {
    let bytes = client.download(mxc).await?.bytes(100).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn what_is_restricted_is_the_users_alone_and_so_is_its_copy() {
    let server = Server::start().await;
    let (alice, bob) = (server.client("alice").await, server.client("bob").await);
    let uploaded = alice.upload("hello").content_type("text/plain").filename("a.txt").restricted().await.unwrap();
    let put = alice.create().restricted().await.unwrap().mxc;
    alice.put(&put, "hello").await.unwrap();
    let encrypted = alice.upload_encrypted("hello").restricted().await.unwrap();
    let copied = alice.copy(&uploaded).await.unwrap();

    for mxc in [&uploaded, &put, &copied] {
        assert_eq!(read(&alice, mxc).await.unwrap(), "hello");
    }
    for mxc in [&uploaded, &put, &copied, encrypted.mxc()] {
        let refused = read(&bob, mxc).await.unwrap_err();
        assert_eq!((refused.status(), refused.errcode()), (Some(403), Some(&ErrorCode::UNAUTHORIZED)));
    }
    let of_anothers = bob.copy(&uploaded).await.unwrap_err();
    assert_eq!((of_anothers.status(), of_anothers.errcode()), (Some(403), Some(&ErrorCode::UNAUTHORIZED)));
}

#[tokio::test]
async fn the_endpoints_of_the_proposal_are_asked_and_nothing_else() {
    let peer = Peer::start([made(), made(), made(), made()]).await;
    let client = peer.client();

    client.upload("x").restricted().await.unwrap();
    client.upload_encrypted("x").restricted().await.unwrap();
    client.create().restricted().await.unwrap();
    let copied = client.copy(&mxc()).await.unwrap();

    assert_eq!(copied.to_string(), "mxc://example.org/new");
    assert_eq!(peer.lines(), [UPLOAD, UPLOAD, CREATE, COPY]);
    assert_eq!(peer.asked()[3].body, b"{}");
}

#[tokio::test]
async fn a_server_without_it_is_told_from_one_that_refuses() {
    for unrecognized in [
        Act::refuse("404 Not Found", "", "M_UNRECOGNIZED"),
        Act::refuse("405 Method Not Allowed", "", "M_UNRECOGNIZED"),
        Act::answer("404 Not Found", "", "<html>"),
    ] {
        let peer = Peer::start([unrecognized.clone(), unrecognized.clone(), unrecognized]).await;
        let client = peer.client();
        for error in [
            client.upload("x").restricted().await.unwrap_err(),
            client.create().restricted().await.unwrap_err(),
            client.copy(&mxc()).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NoRestrictedMedia), "{error:?}");
        }
    }
    let peer = Peer::start([Act::refuse("404 Not Found", "", "M_NOT_FOUND")]).await;
    assert_eq!(peer.client().copy(&mxc()).await.unwrap_err().errcode(), Some(&ErrorCode::NOT_FOUND));
}

#[tokio::test]
async fn what_is_restricted_cannot_be_ephemeral_and_nothing_is_sent() {
    let peer = Peer::start([made()]).await;
    let client = peer.client();

    for error in [
        client.upload("x").restricted().ephemeral().await.unwrap_err(),
        client.create().ephemeral().restricted().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    }
    assert_eq!(peer.lines(), [""; 0]);
}
