//! `POST /_matrix/client/unstable/org.matrix.msc3911/media/create`, and the uploads to what it reserves.

use tintype_testing::{START, TestServer, paths, pattern};

use super::invisible;

const DAY: i64 = 24 * 60 * 60 * 1000;

#[tokio::test]
async fn what_is_put_to_its_uri_is_its_uploaders_alone() {
    for length in [5, 300_000] {
        let server = TestServer::start().await;
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let created = alice.post(paths::RESTRICTED_CREATE).body("{}").await;
        assert_eq!(created.json()["unused_expires_at"], START.as_millis() + DAY);
        let mxc = created.mxc();
        assert_eq!(bob.put(&mxc).body("bob's").await.error(), (403, "M_FORBIDDEN".to_owned()));

        assert_eq!(alice.put(&mxc).body(pattern(length)).await.status(), 200);

        assert_eq!(alice.get(paths::download(&mxc)).await.bytes()[..], pattern(length)[..]);
        assert_eq!(bob.get(paths::download(&mxc)).await.error(), invisible());
    }
}

#[tokio::test]
async fn while_it_arrives_it_is_read_by_its_uploader_alone() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.post(paths::RESTRICTED_CREATE).await.mxc();
    let mut upload = alice.put(&mxc).feed(1000).await;
    upload.send(pattern(1000)[..100].to_vec()).await;

    let mut reading = alice.get(paths::download(&mxc)).open().await;

    assert_eq!(reading.bytes(100).await[..], pattern(1000)[..100]);
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), invisible());
    upload.send(pattern(1000)[100..].to_vec()).await;
    assert_eq!(upload.finish().await.status(), 200);
    assert_eq!(reading.whole().await[..], pattern(1000)[100..]);
}

#[tokio::test]
async fn an_interrupted_upload_can_be_resumed() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mxc = alice.post(paths::RESTRICTED_CREATE).await.mxc();
    alice.put(&mxc).incomplete().body("hel").await;

    let resumed = alice.patch(&mxc, 3).complete().body("lo").await;

    assert_eq!(resumed.status(), 200, "{resumed:?}");
    assert_eq!(alice.get(paths::download(&mxc)).await.bytes(), "hello");
    assert_eq!(bob.get(paths::download(&mxc)).await.error(), invisible());
}

#[tokio::test]
async fn who_may_not_reserve_may_not_reserve_this() {
    let server = TestServer::with("limits.max_pending_uploads = 1").await;
    let (alice, guest) = (server.user("alice").await, server.guest("guest").await);
    let create = async |client: &tintype_testing::Client, body: &'static str| {
        client.post(paths::RESTRICTED_CREATE).body(body).await.error()
    };

    assert_eq!(create(&server.anonymous(), "").await, (401, "M_MISSING_TOKEN".to_owned()));
    assert_eq!(create(&guest, "").await, (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned()));
    assert_eq!(create(&alice, "[]").await, (400, "M_BAD_JSON".to_owned()));
    alice.post(paths::RESTRICTED_CREATE).await.mxc();
    assert_eq!(create(&alice, "").await, (429, "M_LIMIT_EXCEEDED".to_owned()));
}
