//! `POST /_matrix/client/unstable/org.matrix.msc3911/media/upload`, and its stable name.

use tintype_testing::{START, TestServer, paths, pattern};

use super::{invisible, restricted};

#[tokio::test]
async fn restricted_media_is_its_uploaders_alone() {
    for name in [paths::RESTRICTED_UPLOAD, paths::STABLE_RESTRICTED_UPLOAD] {
        for length in [5, 300_000] {
            let server = TestServer::start().await;
            let (alice, bob) = (server.user("alice").await, server.user("bob").await);

            let mxc = alice.post(name).body(pattern(length)).await.mxc();

            assert_eq!(mxc.server_name, "localhost");
            assert_eq!(alice.get(paths::download(&mxc)).await.bytes()[..], pattern(length)[..]);
            assert_eq!(bob.get(paths::download(&mxc)).await.error(), invisible());
        }
    }
}

#[tokio::test]
async fn type_and_name_go_with_it() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let path = format!("{}?filename=a.txt", paths::RESTRICTED_UPLOAD);

    let mxc = alice.post(path).header("content-type", "text/plain").body("hello").await.mxc();

    let download = alice.get(paths::download(&mxc)).await;
    assert_eq!(download.header("content-type"), "text/plain");
    assert_eq!(download.header("content-disposition"), "inline; filename=\"a.txt\"");
}

#[tokio::test]
async fn the_stable_names_are_there_only_where_they_are_turned_on() {
    let server = TestServer::with("proposals.stable = ['msc4425']").await;
    let alice = server.user("alice").await;
    let mxc = restricted(&alice, "hello").await;

    for path in [paths::STABLE_RESTRICTED_UPLOAD.to_owned(), paths::stable_copy(&mxc)] {
        let answer = alice.post(path.as_str()).body("{}").await;
        assert_eq!(answer.error(), (404, "M_UNRECOGNIZED".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn it_cannot_be_ephemeral() {
    for proposals in ["", "proposals.stable = []"] {
        let server = TestServer::with(proposals).await;
        let alice = server.user("alice").await;

        for path in [paths::RESTRICTED_UPLOAD, paths::RESTRICTED_CREATE] {
            for query in ["ephemeral=true", "org.matrix.msc4425.ephemeral=true", "ephemeral=false", "ephemeral="] {
                let refused = alice.post(format!("{path}?{query}")).body("{}").await;
                assert_eq!(refused.error(), (400, "M_INVALID_PARAM".to_owned()), "{path}?{query}");
            }
        }
        server.holds_nothing().await;
        assert_eq!(server.metric("tintype_uploads_total").await, 0);
    }
}

#[tokio::test]
async fn who_may_not_upload_may_not_upload_this() {
    let server = TestServer::with("limits.max_upload_size = '10B'").await;
    let (alice, guest) = (server.user("alice").await, server.guest("guest").await);

    let refused = async |client: &tintype_testing::Client, body: &'static str| {
        client.post(paths::RESTRICTED_UPLOAD).body(body).await.error()
    };

    assert_eq!(refused(&server.anonymous(), "x").await, (401, "M_MISSING_TOKEN".to_owned()));
    assert_eq!(refused(&guest, "x").await, (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    assert_eq!(refused(&alice, "eleven bytes").await, (413, "M_TOO_LARGE".to_owned()));
    server.holds_nothing().await;
}

#[tokio::test]
async fn it_counts_as_every_upload_does() {
    let server = TestServer::with("limits.max_user_media = 2").await;
    let alice = server.user("alice").await;
    restricted(&alice, "one").await;
    alice.upload("two").await;

    let refused = alice.post(paths::RESTRICTED_UPLOAD).body("three").await;

    assert_eq!(refused.error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(server.metric("tintype_uploads_total").await, 2);
}

#[tokio::test]
async fn where_all_media_is_to_be_restricted_this_is_the_way() {
    let server = TestServer::with("linked.block_unrestricted = true").await;
    let alice = server.user("alice").await;

    assert_eq!(alice.post(paths::RESTRICTED_UPLOAD).body("hello").await.status(), 200);
    assert_eq!(alice.post(paths::RESTRICTED_CREATE).await.status(), 200);
}

#[tokio::test]
async fn clients_learn_that_there_is_such_media() {
    let server = TestServer::start().await;

    let answer = server.anonymous().get("/_matrix/client/versions").await;

    assert_eq!(answer.json()["unstable_features"]["org.matrix.msc3911"], true);
}

#[tokio::test]
async fn what_is_restricted_stays_so_over_a_restart() {
    let server = TestServer::start().await;
    let mxc = restricted(&server.user("alice").await, "hello").await;

    let server = server.restart().await;

    assert_eq!(server.now(), START);
    assert_eq!(server.user("bob").await.get(paths::download(&mxc)).await.error(), invisible());
    assert_eq!(server.user("alice").await.get(paths::download(&mxc)).await.bytes(), "hello");
}
