//! Ephemeral media, and finding out whether a server has it before anything is sent.

use tintype_client::{EphemeralSupport, Error, Lifetime};

use crate::{
    peer::{Act, Peer},
    server::Server,
};

const VERSIONS: &str = "GET /_matrix/client/versions";
const WHOAMI: &str = "GET /_matrix/client/v3/account/whoami";
const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.msc4425/example.org:8448/";
const STABLE: &str = "/_matrix/client/v1/media/example.org:8448/";

fn whoami() -> Act {
    Act::answer("200 OK", "", r#"{"user_id":"@alice:example.org:8448"}"#)
}

fn unrecognized() -> Act {
    Act::refuse("404 Not Found", "", "M_UNRECOGNIZED")
}

fn uploaded() -> Act {
    Act::answer("200 OK", "", r#"{"content_uri":"mxc://example.org/abc"}"#)
}

/// A peer without the feature.
async fn without_it(then: Option<Act>) -> Peer {
    Peer::start([Act::versions(""), whoami(), unrecognized(), unrecognized()].into_iter().chain(then)).await
}

#[tokio::test]
async fn a_flag_says_it_and_is_asked_for_once() {
    for (flag, support) in
        [("org.matrix.msc4425", EphemeralSupport::Unstable), ("org.matrix.msc4425.stable", EphemeralSupport::Stable)]
    {
        let peer = Peer::start([Act::versions(flag)]).await;
        let client = peer.client();
        assert_eq!(client.ephemeral_support().await.unwrap(), support);
        assert_eq!(client.clone().ephemeral_support().await.unwrap(), support);
        assert_eq!(peer.lines(), [VERSIONS]);
    }
}

#[tokio::test]
async fn without_a_flag_media_that_cannot_be_there_is_deleted() {
    for refusal in [
        Act::refuse("404 Not Found", "", "M_NOT_FOUND"),
        Act::refuse("403 Forbidden", "", "M_FORBIDDEN"),
        Act::answer("200 OK", "", "{}"),
    ] {
        let peer = Peer::start([Act::versions(""), whoami(), refusal]).await;
        assert_eq!(peer.client().ephemeral_support().await.unwrap(), EphemeralSupport::Unstable);
        let lines = peer.lines();
        assert_eq!(lines[..2], [VERSIONS, WHOAMI]);
        let random = lines[2].strip_prefix(&format!("DELETE {UNSTABLE}")).unwrap();
        assert!(random.len() > 20, "{random}");
    }
}

#[tokio::test]
async fn a_server_with_the_stable_endpoint_alone_has_it_too() {
    let not_found = Act::refuse("404 Not Found", "", "M_NOT_FOUND");
    let peer = Peer::start([Act::versions(""), whoami(), unrecognized(), not_found]).await;

    assert_eq!(peer.client().ephemeral_support().await.unwrap(), EphemeralSupport::Stable);

    assert!(peer.lines()[3].starts_with(&format!("DELETE {STABLE}")), "{:?}", peer.lines());
}

#[tokio::test]
async fn a_server_that_does_not_know_it_does_not_have_it() {
    assert_eq!(without_it(None).await.client().ephemeral_support().await.unwrap(), EphemeralSupport::Unsupported);
}

#[tokio::test]
async fn a_real_server_has_it() {
    let server = Server::start().await;

    assert_eq!(server.client("alice").await.ephemeral_support().await.unwrap(), EphemeralSupport::Unstable);
}

#[tokio::test]
async fn an_answer_that_says_neither_is_an_error_and_is_not_remembered() {
    let unknown_token = || Act::refuse("401 Unauthorized", "", "M_UNKNOWN_TOKEN");
    let peer = Peer::start([Act::versions(""), unknown_token(), Act::versions("org.matrix.msc4425")]).await;
    let client = peer.client();

    assert_eq!(client.ephemeral_support().await.unwrap_err().status(), Some(401));
    assert_eq!(client.ephemeral_support().await.unwrap(), EphemeralSupport::Unstable);
}

#[tokio::test]
async fn the_unstable_name_is_sent_and_the_stable_one_where_it_is_known() {
    for (flag, query) in [
        ("org.matrix.msc4425", "?org.matrix.msc4425.ephemeral=true"),
        ("org.matrix.msc4425.stable", "?org.matrix.msc4425.ephemeral=true&ephemeral=true"),
    ] {
        let peer = Peer::start([Act::versions(flag), uploaded(), uploaded(), uploaded()]).await;
        let client = peer.client();
        client.upload("x").ephemeral().await.unwrap();
        client.create().ephemeral().await.unwrap();
        client.upload_encrypted("x").ephemeral().await.unwrap();
        let (upload, create) =
            (format!("POST /_matrix/media/v3/upload{query}"), format!("POST /_matrix/media/v1/create{query}"));
        assert_eq!(peer.lines(), [VERSIONS, &upload, &create, &upload]);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_would_keep_it() {
    let peer = without_it(None).await;
    let client = peer.client();

    let uploaded = client.upload("secret").ephemeral().await.unwrap_err();
    let created = client.create().ephemeral().await.unwrap_err();
    let encrypted = client.upload_encrypted("secret").ephemeral().await.unwrap_err();

    for error in [uploaded, created, encrypted] {
        assert!(matches!(error, Error::NoEphemeralMedia), "{error:?}");
    }
    assert_eq!(peer.methods(), ["GET", "GET", "DELETE", "DELETE"]);
}

#[tokio::test]
async fn who_insists_uploads_all_the_same() {
    let peer = without_it(Some(uploaded())).await;

    peer.client().upload("x").lifetime(Lifetime::EphemeralOrKept).await.unwrap();

    assert_eq!(peer.lines()[4], "POST /_matrix/media/v3/upload?org.matrix.msc4425.ephemeral=true");
}

#[tokio::test]
async fn who_insists_needs_no_answer() {
    let unknown = Act::refuse("404 Not Found", "", "M_UNRECOGNIZED");
    let peer = Peer::start([Act::versions(""), unknown, uploaded()]).await;

    peer.client().upload("x").lifetime(Lifetime::EphemeralOrKept).await.unwrap();

    assert_eq!(peer.lines()[1..], [WHOAMI, "POST /_matrix/media/v3/upload?org.matrix.msc4425.ephemeral=true"]);
}

#[tokio::test]
async fn of_what_is_kept_nothing_is_asked() {
    let peer = Peer::start([uploaded(), uploaded()]).await;

    peer.client().upload("x").await.unwrap();
    peer.client().create().lifetime(Lifetime::Kept).await.unwrap();

    assert_eq!(peer.lines(), ["POST /_matrix/media/v3/upload", "POST /_matrix/media/v1/create"]);
}
