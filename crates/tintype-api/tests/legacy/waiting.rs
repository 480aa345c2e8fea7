//! Media that is reserved or arriving, at the old endpoints.

use std::time::Duration;

use tintype_domain::Mxc;
use tintype_testing::{Client, TestServer, Waiting, paths, pictures::png};

const SIZE: &str = "width=32&height=32&method=crop";

const DAY: Duration = Duration::from_hours(24);

fn not_yet_uploaded() -> (u16, String) {
    (504, "M_NOT_YET_UPLOADED".to_owned())
}

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

/// A server with a reservation, and who made it.
async fn reserved(config: &str) -> (TestServer, Client, Mxc) {
    let server = TestServer::unlimited(config).await;
    let alice = server.user("alice").await;
    let mxc = alice.create().await;
    (server, alice, mxc)
}

/// Every old path to this media.
fn old_paths(mxc: &Mxc) -> Vec<String> {
    let versions = ["v3", "r0", "v1"].into_iter();
    let paths = versions.flat_map(|version| {
        [paths::legacy_download(mxc), paths::legacy_download(mxc) + "/a.png", paths::legacy_thumbnail(mxc, SIZE)]
            .map(|path| path.replace("/v3/", &format!("/{version}/")))
    });
    paths.collect()
}

#[tokio::test]
async fn a_frozen_path_answers_at_once_that_the_upload_is_not_there_yet() {
    let (server, alice, mxc) = reserved("").await;

    for path in old_paths(&mxc) {
        for client in [&server.anonymous(), &alice] {
            assert_eq!(client.get(path.as_str()).await.error(), not_yet_uploaded(), "{path}");
            assert_eq!(client.head(path.as_str()).await.status(), 504, "{path}");
        }
    }
    assert_eq!(server.waiting_downloads().await, 0);
}

#[tokio::test]
async fn a_frozen_path_shows_nothing_of_what_arrives() {
    let (server, alice, mxc) = reserved("").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;

    for path in old_paths(&mxc) {
        assert_eq!(server.anonymous().get(path.as_str()).await.error(), not_yet_uploaded(), "{path}");
    }
    assert_eq!(server.metric("tintype_downloads_streaming").await, 0);
}

#[tokio::test]
async fn on_a_frozen_path_what_is_stored_or_expired_is_not_found() {
    let (server, alice, stored) = reserved("").await;
    let expired = alice.create().await;
    alice.put(&stored).body(png(64, 48)).await;
    server.advance(DAY + Duration::from_millis(1));

    for path in [old_paths(&stored), old_paths(&expired)].concat() {
        assert_eq!(server.anonymous().get(path.as_str()).await.error(), not_found(), "{path}");
    }
}

#[tokio::test]
async fn a_frozen_path_knows_the_unstable_parameter() {
    let (server, _, mxc) = reserved("").await;

    let answer = server.anonymous().get(paths::legacy_download(&mxc) + "?fi.mau.msc2246.timeout_ms=20000").await;

    assert_eq!(answer.error(), (504, "FI.MAU.MSC2246_NOT_YET_UPLOADED".to_owned()));
}

#[tokio::test]
async fn without_a_freeze_anybody_waits() {
    let (server, alice, mxc) = reserved("legacy.freeze = 'never'").await;
    let mut waiting = Vec::new();
    for path in old_paths(&mxc) {
        waiting.push(server.waiting(server.anonymous().get(path)).await);
    }

    alice.put(&mxc).header("content-type", "image/png").body(png(64, 48)).await;

    for answer in waiting {
        assert_eq!(answer.await.status(), 200);
    }
}

#[tokio::test]
async fn without_a_freeze_nobody_waits_for_ever() {
    let (server, _, mxc) = reserved("legacy.freeze = 'never'").await;
    let usual = server.waiting(server.anonymous().get(paths::legacy_download(&mxc))).await;
    let short = server.anonymous().get(paths::legacy_download(&mxc) + "?timeout_ms=0").await;
    let nonsense = server.anonymous().get(paths::legacy_download(&mxc) + "?timeout_ms=soon").await;

    server.advance(Duration::from_secs(20));

    assert_eq!(short.error(), not_yet_uploaded());
    assert_eq!(nonsense.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(usual.await.error(), not_yet_uploaded());
}

#[tokio::test]
async fn without_a_freeze_anybody_sees_what_arrives() {
    let (server, alice, mxc) = reserved("legacy.freeze = 'never'").await;
    let mut upload = alice.put(&mxc).feed(10).await;
    upload.send("hell").await;

    let mut download = server.anonymous().get(paths::legacy_download(&mxc)).open().await;

    assert_eq!((download.status(), &download.bytes(4).await[..]), (200, &b"hell"[..]));
    upload.send("o hell").await;
    upload.finish().await;
    assert_eq!(download.whole().await, "o hell");
}

#[tokio::test]
async fn without_a_freeze_what_is_expired_or_unknown_is_not_found_at_once() {
    let (server, _, mxc) = reserved("legacy.freeze = 'never'").await;
    server.advance(DAY + Duration::from_millis(1));

    for path in [paths::legacy_download(&mxc), "/_matrix/media/v3/download/localhost/missing".to_owned()] {
        assert_eq!(server.anonymous().get(path.as_str()).await.error(), not_found(), "{path}");
    }
}

#[tokio::test]
async fn an_address_that_waits_for_too_much_loses_only_waits_of_its_own() {
    let (server, alice, mxc) = reserved("legacy.freeze = 'never'\nlimits.max_waiting_per_user = 1").await;
    server.is_at_one_node("each node has its own places to wait");
    let from = |address: &str| server.anonymous().get(paths::legacy_download(&mxc)).header("x-forwarded-for", address);
    let other = server.waiting(from("203.0.113.8")).await;
    let user = server.waiting(alice.get(paths::download(&mxc)).header("x-forwarded-for", "203.0.113.7")).await;
    let first = server.waiting(from("203.0.113.7")).await;
    // A customer has a /64 of IPv6 addresses.
    let first_of_v6 = server.waiting(from("2001:db8::1")).await;

    let second = Waiting::new(from("203.0.113.7").into_future());
    assert_eq!(first.await.error(), not_yet_uploaded());
    let second_of_v6 = Waiting::new(from("2001:db8::2").into_future());
    assert_eq!(first_of_v6.await.error(), not_yet_uploaded());

    alice.put(&mxc).body("hello").await;
    for answer in [other, user, second, second_of_v6] {
        assert_eq!(answer.await.bytes(), "hello");
    }
}
