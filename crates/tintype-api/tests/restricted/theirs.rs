//! What other servers say of who may see their media: it counts, and what is not understood is for nobody.

use serde_json::{Value, json};
use tintype_domain::Mxc;
use tintype_testing::{Client, Peer, Script, TestServer, paths, pattern};

use super::invisible;

const DOWNLOAD: &str = "/_matrix/federation/v1/media/download/";
const THUMBNAIL: &str = "/_matrix/federation/v1/media/thumbnail/";
const MIXED: &str = "Content-Type: multipart/mixed; boundary=bound\r\n";
const SIZE: &str = "width=32&height=32&method=crop";

/// The beginning of an answer with this metadata, up to the bytes of its media.
fn head(metadata: &Value, content_type: &str) -> String {
    let json = "--bound\r\nContent-Type: application/json\r\n\r\n";
    format!("{json}{metadata}\r\n--bound\r\nContent-Type: {content_type}\r\n\r\n")
}

/// A whole answer.
fn answer(metadata: &Value, content_type: &str, media: &[u8]) -> Script {
    let body = [head(metadata, content_type).as_bytes(), media, b"\r\n--bound--\r\n"].concat();
    Script::response(200, MIXED, body)
}

fn to_nobody() -> Value {
    json!({ "org.matrix.msc3911.restrictions": {} })
}

/// A server of ours, one of its users, and another server.
struct Scene {
    ours: TestServer,
    alice: Client,
    peer: Peer,
}

impl Scene {
    async fn new() -> Self {
        let (ours, peer) = tokio::join!(TestServer::federating("ours", ""), Peer::start("theirs"));
        let alice = ours.user("alice").await;
        Self { ours, alice, peer }
    }

    /// The peer's answer to whoever asks for the media, or for a thumbnail of it.
    fn says(&self, of: &str, mxc: &Mxc, script: Script) {
        self.peer.says(&format!("{of}{}", mxc.media_id), script);
    }

    /// The status of a download.
    async fn download(&self, mxc: &Mxc) -> u16 {
        self.alice.get(paths::download(mxc)).await.status()
    }

    /// The status of a thumbnail.
    async fn thumbnail(&self, mxc: &Mxc) -> u16 {
        self.alice.get(paths::thumbnail(mxc, SIZE)).await.status()
    }
}

#[tokio::test]
async fn what_is_not_understood_is_shown_to_nobody() {
    let scene = Scene::new().await;
    let event = json!({ "event_id": "$event" });
    let cases = [
        json!({ "org.matrix.msc3911.restrictions": {} }),
        json!({ "restrictions": {} }),
        json!({ "restrictions": null }),
        json!({ "restrictions": [] }),
        json!({ "restrictions": "$event" }),
        json!({ "restrictions": true }),
        json!({ "restrictions": { "event_id": 7 } }),
        json!({ "restrictions": { "event_id": "event" } }),
        json!({ "restrictions": { "profile_user_id": "bob" } }),
        json!({ "restrictions": { "room_id": "!room:theirs.example" } }),
        json!({ "restrictions": { "event_id": "$event", "profile_user_id": "@bob:theirs.example" } }),
        json!({ "restrictions": { "event_id": "$event", "org.example.more": {} } }),
        json!({ "restrictions": event, "org.matrix.msc3911.restrictions": { "event_id": "$other" } }),
        json!({ "restrictions": {}, "org.matrix.msc3911.restrictions": event }),
    ];

    for (at, metadata) in cases.iter().enumerate() {
        for (of, length) in [("small", 5), ("large", 300_000)] {
            let mxc = scene.peer.mxc(&format!("{of}{at}"));
            scene.says(DOWNLOAD, &mxc, answer(metadata, "text/plain", &pattern(length)));
            scene.says(THUMBNAIL, &mxc, answer(metadata, "image/png", &pattern(length)));
            for _ in 0..2 {
                let download = scene.alice.get(paths::download(&mxc)).await;
                assert_eq!(download.error(), invisible(), "{metadata}");
                assert_eq!(download.header("cache-control"), "no-store");
                let thumbnail = scene.alice.get(paths::thumbnail(&mxc, SIZE)).await;
                assert_eq!(thumbnail.error(), invisible(), "{metadata}");
            }
        }
    }
}

#[tokio::test]
async fn it_is_judged_before_the_first_byte_is_given() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("endless");
    let begin = [head(&to_nobody(), "text/plain").as_bytes(), &pattern(100_000)].concat();
    scene.says(DOWNLOAD, &mxc, Script::unfinished(200, MIXED, &[&begin]).stall());

    let refused = scene.alice.get(paths::download(&mxc)).await;

    assert_eq!(refused.error(), invisible());
}

#[tokio::test]
async fn media_of_which_nothing_is_said_is_for_everybody() {
    let scene = Scene::new().await;
    for (at, metadata) in [json!({}), json!({ "org.example.restrictions": {} })].iter().enumerate() {
        let mxc = scene.peer.mxc(&format!("plain{at}"));
        scene.says(DOWNLOAD, &mxc, answer(metadata, "text/plain", b"hello"));

        assert_eq!(scene.alice.get(paths::download(&mxc)).await.bytes(), "hello", "{metadata}");
    }
}

#[tokio::test]
async fn what_the_old_endpoints_give_is_for_everybody() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("old");
    scene.peer.says("/_matrix/media/v3/download/", Script::response(200, "Content-Type: text/plain\r\n", "hello"));

    assert_eq!(scene.alice.get(paths::download(&mxc)).await.bytes(), "hello");
}

#[tokio::test]
async fn a_stricter_word_counts_at_once_for_all_that_is_kept() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("media");
    scene.says(DOWNLOAD, &mxc, answer(&json!({}), "text/plain", b"hello"));
    let other = scene.peer.mxc("other");
    scene.says(THUMBNAIL, &other, answer(&json!({}), "image/png", b"small"));
    for _ in 0..2 {
        assert_eq!((scene.download(&mxc).await, scene.thumbnail(&other).await), (200, 200));
    }

    let unfinished = [head(&to_nobody(), "text/plain").as_bytes(), &pattern(100_000)].concat();
    scene.says(DOWNLOAD, &other, Script::unfinished(200, MIXED, &[&unfinished]).stall());
    assert_eq!(scene.download(&other).await, 403);

    assert_eq!(scene.thumbnail(&other).await, 403, "though the newer answer is not whole");
    assert_eq!(scene.download(&mxc).await, 200, "of other media nothing was said");
}

#[tokio::test]
async fn what_is_coming_under_another_word_is_given_up() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("media");
    let begin = [head(&json!({}), "text/plain").as_bytes(), &pattern(100_000)].concat();
    scene.says(DOWNLOAD, &mxc, Script::unfinished(200, MIXED, &[&begin]).stall());
    let mut reading = scene.alice.get(paths::download(&mxc)).open().await;
    reading.bytes(1000).await;

    scene.says(THUMBNAIL, &mxc, answer(&to_nobody(), "image/png", b"small"));
    assert_eq!(scene.thumbnail(&mxc).await, 403);

    reading.aborted().await;
    scene.ours.holds_nothing().await;
    assert_eq!(scene.thumbnail(&mxc).await, 403);
}

#[tokio::test]
async fn a_later_word_may_free_what_an_earlier_one_restricted() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("media");
    scene.says(THUMBNAIL, &mxc, answer(&to_nobody(), "image/png", b"small"));
    assert_eq!(scene.thumbnail(&mxc).await, 403);

    scene.says(DOWNLOAD, &mxc, answer(&json!({}), "text/plain", b"hello"));
    assert_eq!(scene.download(&mxc).await, 200);

    assert_eq!(scene.thumbnail(&mxc).await, 200);
}

#[tokio::test]
async fn a_restriction_outlives_a_restart() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("media");
    scene.says(DOWNLOAD, &mxc, answer(&to_nobody(), "text/plain", b"hello"));
    assert_eq!(scene.download(&mxc).await, 403);

    let Scene { ours, peer, .. } = scene;
    let ours = ours.restart().await;
    drop(peer);

    let alice = ours.user("alice").await;
    assert_eq!(alice.get(paths::download(&mxc)).await.error(), invisible(), "it is kept, and not asked for again");
}

#[tokio::test]
async fn a_refusal_of_the_origin_is_passed_on_and_not_remembered() {
    let scene = Scene::new().await;
    let mxc = scene.peer.mxc("media");
    for (errcode, status) in [("M_UNAUTHORIZED", 403), ("M_FORBIDDEN", 502)] {
        scene.says(DOWNLOAD, &mxc, Script::error(403, errcode));
        scene.says(THUMBNAIL, &mxc, Script::error(403, errcode));
        let refused = scene.alice.get(paths::download(&mxc)).await;
        assert_eq!((refused.status(), refused.header("cache-control")), (status, "no-store"), "{errcode}");
        assert_eq!(scene.thumbnail(&mxc).await, status, "{errcode}");
    }

    // No time has passed.
    scene.says(DOWNLOAD, &mxc, answer(&json!({}), "text/plain", b"hello"));
    scene.says(THUMBNAIL, &mxc, answer(&json!({}), "image/png", b"small"));

    assert_eq!((scene.thumbnail(&mxc).await, scene.download(&mxc).await), (200, 200));
}
