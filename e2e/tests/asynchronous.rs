//! A bridge that sends the event first and the file later, and a viewer who does not wait for the end: mautrix uploads
//! through its own API, matrix-js-sdk downloads with its token, both behind a proxy in front of Synapse and Tintype.
//!
//! The test says when the bridge sends what, after it has heard what the viewer has: nothing here depends on time.

use e2e::{
    asynchronous::{Bridge, End, Length, Viewer, recording},
    caddy::Caddy,
    nginx::{Nginx, Passing},
    synapse::{MediaRepository, Synapse, User},
    tintype::Tintype,
};
use tokio::sync::OnceCell;

/// Less than the recording has.
const FIRST_PIECE: usize = 1000;

#[tokio::test]
async fn a_download_that_begins_before_the_upload_gets_the_whole_file() {
    let mut site = Site::start().await;
    let (bridge, viewer) = site.reserved("before", Length::Announced).await;

    let status = bridge.finish().await;

    assert_eq!(status, 200);
    assert_eq!(viewer.end().await, End::Whole(recording()));
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_last_are_sent_behind_nginx() {
    let mut site = Site::start().await;
    let (bridge, viewer) = site.reserved("slow", Length::Announced).await;

    is_seen_while_it_is_sent(bridge, viewer).await;
}

#[tokio::test]
async fn the_first_bytes_of_unknown_length_are_there_before_the_last_are_sent_behind_nginx() {
    let mut site = Site::start().await;
    let (bridge, viewer) = site.reserved("slow_and_unknown", Length::Unknown).await;

    is_seen_while_it_is_sent(bridge, viewer).await;
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_last_are_sent_behind_caddy() {
    let mut site = Site::start().await;
    let caddy = Caddy::start(&site.tintype.address(), &site.synapse.address()).await;
    let url = format!("http://127.0.0.1:{}", caddy.port());
    let (bridge, viewer) = site.reserved_behind(&url, "slow_behind_caddy", Length::Announced).await;

    is_seen_while_it_is_sent(bridge, viewer).await;
}

#[tokio::test]
async fn the_head_says_what_the_bridge_announced() {
    let mut site = Site::start().await;
    let (mut bridge, mut viewer) = site.reserved("announced", Length::Announced).await;

    bridge.send(FIRST_PIECE).await;
    let head = viewer.head().await;

    assert_eq!(head["status"], 200);
    assert_eq!(head["content_type"], "video/mp4");
    assert_eq!(head["content_length"], recording().len().to_string());
}

#[tokio::test]
async fn a_bridge_that_dies_leaves_an_error_and_no_stump() {
    let mut site = Site::start().await;
    let (bridge, viewer) = site.reserved("dies", Length::Announced).await;

    is_an_error_when_the_bridge_dies(bridge, viewer).await;
}

#[tokio::test]
async fn a_bridge_that_dies_leaves_an_error_and_no_stump_of_unknown_length() {
    let mut site = Site::start().await;
    let (bridge, viewer) = site.reserved("dies_unknown", Length::Unknown).await;

    is_an_error_when_the_bridge_dies(bridge, viewer).await;
}

#[tokio::test]
async fn a_bridge_that_died_sends_again_to_the_same_uri() {
    let mut site = Site::start().await;
    let (bridge, viewer) = site.reserved("dies_and_returns", Length::Announced).await;
    let content_uri = bridge.content_uri().to_owned();
    is_an_error_when_the_bridge_dies(bridge, viewer).await;

    let bridge = Bridge::resume(&site.nginx.url(), "dies_and_returns", &content_uri).await;
    let viewer = site.viewer_of(&site.nginx.url(), &content_uri).await;
    let status = bridge.finish().await;

    assert_eq!(status, 200);
    assert_eq!(viewer.end().await, End::Whole(recording()));
}

#[tokio::test]
async fn a_second_sender_is_refused_while_the_first_is_sending() {
    let mut site = Site::start().await;
    let (mut first, mut viewer) = site.reserved("sends_twice", Length::Announced).await;
    first.send(FIRST_PIECE).await;
    viewer.head().await;

    let second = Bridge::resume(&site.nginx.url(), "sends_twice", first.content_uri()).await;

    assert_eq!(second.finish().await, 409);
    assert_eq!(first.finish().await, 200);
    assert_eq!(viewer.end().await, End::Whole(recording()));
}

async fn is_seen_while_it_is_sent(mut bridge: Bridge, mut viewer: Viewer) {
    bridge.send(FIRST_PIECE).await;
    viewer.head().await;
    let seen = viewer.received().await;

    assert!((1..=FIRST_PIECE as u64).contains(&seen), "{seen}");
    assert_eq!(bridge.finish().await, 200);
    assert_eq!(viewer.end().await, End::Whole(recording()));
}

async fn is_an_error_when_the_bridge_dies(mut bridge: Bridge, mut viewer: Viewer) {
    bridge.send(FIRST_PIECE).await;
    viewer.head().await;
    viewer.received().await;

    drop(bridge);

    assert_eq!(viewer.end().await, End::Error);
}

static SYNAPSE: OnceCell<Synapse> = OnceCell::const_new();
static VIEWER: OnceCell<User> = OnceCell::const_new();

/// One homeserver for the whole file; a Tintype and an nginx for each test.
struct Site {
    synapse: &'static Synapse,
    tintype: Tintype,
    nginx: Nginx,
}

impl Site {
    async fn start() -> Self {
        let synapse = SYNAPSE.get_or_init(|| Synapse::start(MediaRepository::Elsewhere)).await;
        let tintype = Tintype::start(synapse.url()).await;
        let nginx = Nginx::start(Passing::Snippet, &tintype.address(), &synapse.address()).await;
        Self { synapse, tintype, nginx }
    }

    /// A bridge that has reserved a URI and sent nothing yet, and a viewer whose download of it has begun.
    async fn reserved(&mut self, ghost: &str, length: Length) -> (Bridge, Viewer) {
        self.reserved_behind(&self.nginx.url(), ghost, length).await
    }

    async fn reserved_behind(&mut self, url: &str, ghost: &str, length: Length) -> (Bridge, Viewer) {
        let bridge = Bridge::reserve(url, ghost, length).await;
        let viewer = self.viewer_of(url, bridge.content_uri()).await;
        (bridge, viewer)
    }

    async fn viewer_of(&mut self, url: &str, content_uri: &str) -> Viewer {
        let user = VIEWER.get_or_init(|| self.synapse.register("viewer")).await;
        let viewer = Viewer::download(url, user, content_uri);
        self.tintype.wait_for_a_download_of_an_upload().await;
        viewer
    }
}
