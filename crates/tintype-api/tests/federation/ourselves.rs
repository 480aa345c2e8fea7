//! Names that lead to ourselves: another of our own, one of ours in other letters, and one that nobody told us of.

use std::time::Duration;

use http::Method;
use tintype_domain::{OwnedServerName, ServerName};
use tintype_federation::authorization;
use tintype_testing::{TestServer, paths, pattern, pictures, tls::Certificate, until};

use super::pair;

/// A server that is reached by another name, too, without knowing it.
async fn with_an_alias(config: &str) -> (TestServer, String) {
    let server = TestServer::federating("ours", config).await;
    server.write_certificate(&Certificate::of(&["ours.localhost", "alias.localhost"]));
    let before = server.shown_certificate().await;
    until("the certificate is exchanged", async || {
        server.advance(Duration::from_mins(1));
        server.shown_certificate().await != before
    })
    .await;
    let alias = server.name().as_str().replace("ours.", "alias.");
    (server, alias)
}

#[tokio::test]
async fn media_between_servers_of_one_installation_stays_in_it() {
    let server = TestServer::federating_under(&["one", "two"], "").await;
    let one = server.name().to_string();
    let two = one.replace("one.", "two.");
    let alice = server.user(&format!("@alice:{one}")).await.at_host(&one);
    let bob = server.user(&format!("@bob:{two}")).await.at_host(&two);
    let mxc = bob.upload(pictures::jpeg(400, 300)).await;
    assert_eq!(mxc.server_name.as_str(), two);

    assert!(*alice.get(paths::download(&mxc)).await.bytes() == pictures::jpeg(400, 300));
    let thumbnail = alice.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;
    assert_eq!(pictures::look(thumbnail.bytes()), ("jpeg", 96, 96));

    assert_eq!(server.metric("tintype_fetches_total").await, 0);
    assert_eq!(server.requests("federation_download").await, 0);
    let missing = alice.get(format!("/_matrix/client/v1/media/download/{two}/missing")).await;
    assert_eq!(missing.error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(server.metric("tintype_fetches_total").await, 0);
}

#[tokio::test]
async fn each_server_of_an_installation_exchanges_media_under_its_own_name() {
    let server = TestServer::federating_under(&["one", "two"], "").await;
    let theirs = TestServer::federating("theirs", "").await;
    let one = server.name().to_string();
    let two = one.replace("one.", "two.");
    let alice = server.user(&format!("@alice:{one}")).await.at_host(&one);
    let bob = server.user(&format!("@bob:{two}")).await.at_host(&two);
    let carol = theirs.user("carol").await;

    for user in [&alice, &bob] {
        let (here, there) = (user.upload(pattern(100_000)).await, carol.upload(pattern(100_001)).await);
        let fetched = carol.get(paths::download(&here)).await;
        assert_eq!(fetched.status(), 200, "{:?}", fetched.bytes());
        assert!(*user.get(paths::download(&there)).await.bytes() == pattern(100_001));
    }
}

#[tokio::test]
async fn a_name_of_ours_in_other_letters_is_never_dialled() {
    let (ours, _theirs, alice, _) = pair("legacy.freeze = 'never'", "").await;
    let mxc = alice.upload("hello").await;
    let shouted = ours.name().as_str().to_uppercase();

    for path in [
        format!("/_matrix/client/v1/media/download/{shouted}/{}", mxc.media_id),
        format!("/_matrix/client/v1/media/thumbnail/{shouted}/{}?width=9&height=9", mxc.media_id),
        format!("/_matrix/media/v3/download/{shouted}/{}", mxc.media_id),
    ] {
        assert_eq!(alice.get(path.as_str()).await.error(), (404, "M_NOT_FOUND".to_owned()), "{path}");
    }

    assert_eq!(ours.metric("tintype_fetches_total").await, 0);
    assert_eq!(ours.requests("other").await, 0);
}

/// Asks a server in the name of another, signed with the key of the server itself.
async fn asked_by(server: &TestServer, origin: &str) -> (u16, String) {
    let origin = OwnedServerName::try_from(origin).expect("a test names a valid server");
    let (target, destination): (_, &ServerName) = ("/_matrix/federation/v1/media/download/abc", server.name());
    let signature = authorization(&server.signing_key(), &origin, destination, "GET", target);
    let signature = signature.expect("a server signs what a test asks for");
    let anonymous = server.over_tls(&server.anonymous());
    anonymous.request(Method::GET, target).header("authorization", signature).await.error()
}

#[tokio::test]
async fn a_request_in_our_own_name_finds_nothing_whatever_its_letters_are() {
    let ours = TestServer::federating("ours", "").await;

    for origin in [ours.name().as_str().to_owned(), ours.name().as_str().to_uppercase()] {
        assert_eq!(asked_by(&ours, &origin).await, (404, "M_NOT_FOUND".to_owned()), "{origin}");
    }
    assert_eq!(ours.requests("other").await, 0, "nobody was asked for keys");
}

#[tokio::test]
async fn an_alias_that_leads_back_to_us_ends_in_not_found() {
    for freeze in ["", "legacy.freeze = 'never'"] {
        let (ours, alias) = with_an_alias(freeze).await;
        ours.is_at_one_node("each node remembers for itself what another server said");
        let alice = ours.user("alice").await;
        let mxc = alice.upload(pictures::jpeg(400, 300)).await;

        let download = alice.get(format!("/_matrix/client/v1/media/download/{alias}/{}", mxc.media_id)).await;
        let query = "width=96&height=96";
        let thumbnail = alice.get(format!("/_matrix/client/v1/media/thumbnail/{alias}/{}?{query}", mxc.media_id)).await;
        let old = ours.anonymous().get(format!("/_matrix/media/v3/download/{alias}/{}", mxc.media_id)).await;

        assert_eq!(download.error(), (404, "M_NOT_FOUND".to_owned()), "{freeze}");
        assert_eq!(thumbnail.error(), (404, "M_NOT_FOUND".to_owned()), "{freeze}");
        assert_eq!(old.error(), (404, "M_NOT_FOUND".to_owned()), "{freeze}");
        assert_eq!(ours.requests("federation_download").await, 1);
        assert_eq!(ours.requests("federation_thumbnail").await, 1);
        assert_eq!(ours.metric("tintype_fetches_total").await, 2, "each question went around once");
    }
}
