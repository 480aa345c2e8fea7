//! Media that is said to be somewhere else.

use tintype_testing::{Peer, Script, paths};

use super::{DOWNLOAD, MIXED, Outcome, Scene, bad_gateway, too_large, two_parts};

/// Nothing may be connected to but one address.
const ONE_ADDRESS: &str = "federation.allow_addresses = ['127.0.0.2/32']";

/// An answer that says where the media is.
fn at(location: &str) -> Script {
    Script::response(200, MIXED, two_parts(&format!("Location: {location}\r\n"), ""))
}

async fn only_theirs() -> Scene {
    Scene::beside(Peer::at([127, 0, 0, 2]).await, ONE_ADDRESS).await
}

#[tokio::test]
async fn media_elsewhere_is_fetched_without_a_word_of_who_asks() {
    let scene = Scene::new("").await;
    let cdn = Peer::start("cdn").await;
    cdn.says("/", Script::response(200, "Content-Type: text/plain\r\n", "media"));

    scene.takes(b"media", &[("elsewhere", at(&cdn.url("/a%2fb?c=d#e")))]).await;

    let asked = cdn.received("/").pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/a%2fb?c=d"));
    let mut names: Vec<_> = asked.headers.keys().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["host", "user-agent"]);
}

#[tokio::test]
async fn an_address_inside_is_not_connected_to() {
    let scene = only_theirs().await;
    let inside = Peer::start("inside").await;
    let port = inside.name().port().unwrap();

    scene
        .refuses(&[
            ("a name", at(&inside.url("/"))),
            ("an address", at(&format!("https://127.0.0.1:{port}/"))),
            ("a number", at(&format!("https://2130706433:{port}/"))),
            ("a short address", at(&format!("https://127.1:{port}/"))),
            ("an octal address", at(&format!("https://0177.0.0.1:{port}/"))),
            ("a mapped address", at(&format!("https://[::ffff:127.0.0.1]:{port}/"))),
            ("a translated address", at(&format!("https://[64:ff9b::7f00:1]:{port}/"))),
            ("any address", at(&format!("https://0.0.0.0:{port}/"))),
            ("any address of IPv6", at(&format!("https://[::]:{port}/"))),
            ("full stops of another script", at(&format!("https://127\u{3002}0\u{3002}0\u{3002}1:{port}/"))),
            ("metadata", at("https://169.254.169.254/latest/meta-data/")),
        ])
        .await;

    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn what_is_no_url_of_the_web_is_refused() {
    let scene = only_theirs().await;
    let name = scene.peer.name().to_string();
    scene.peer.says("/media", Script::response(200, "", "media"));

    scene
        .refuses(&[
            ("http", at(&format!("http://{name}/media"))),
            ("ftp", at(&format!("ftp://{name}/media"))),
            ("a file", at("file:///etc/passwd")),
            ("data", at("data:,media")),
            ("credentials", at(&format!("https://user:password@{name}/media"))),
            ("a user", at(&format!("https://user@{name}/media"))),
            ("a path", at("/media")),
            ("a host", at(&format!("//{name}/media"))),
            ("nothing", at("")),
            ("bytes", at("https://\u{fffd}/")),
            ("two", at(&format!("https://{name}/media\r\nLocation: https://{name}/media"))),
        ])
        .await;

    assert!(scene.peer.received("/media").is_empty());
}

#[tokio::test]
async fn redirects_are_followed_five_times_and_only_where_the_first_url_could_lead() {
    let scene = only_theirs().await;
    let inside = Peer::start("inside").await;
    let to = |location: &str| Script::response(302, &format!("Location: {location}\r\n"), "");
    scene.peer.says("/0", Script::response(200, "", "good"));
    for number in 1..=6 {
        scene.peer.says(&format!("/{number}"), to(&format!("/{}", number - 1)));
    }
    scene.peer.says("/itself", to("/itself"));
    scene.peer.says("/circle", to("/circle/a"));
    scene.peer.says("/circle/a", to("/circle"));
    scene.peer.says("/inside", to(&inside.url("/")));
    scene.peer.says("/plain", to(&format!("http://{}/0", scene.peer.name())));
    scene.peer.says("/credentials", to(&format!("https://user:password@{}/0", scene.peer.name())));
    scene.peer.says("/nowhere", to("https://:"));
    let from = |path: &str| at(&scene.peer.url(path));

    scene.takes(b"good", &[("five", from("/5"))]).await;
    scene
        .refuses(&[
            ("six", from("/6")),
            ("itself", from("/itself")),
            ("a circle", from("/circle")),
            ("inside", from("/inside")),
            ("plain", from("/plain")),
            ("credentials", from("/credentials")),
            ("nowhere", from("/nowhere")),
        ])
        .await;

    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn what_is_not_the_whole_media_is_not_kept() {
    let scene = Scene::new("federation.idle_timeout = '300ms'\nlimits.max_remote_size = '200KiB'").await;
    scene.ours.is_at_one_node("each node remembers for itself what another server said");
    let cdn = Peer::start("cdn").await;
    for (path, script) in [
        ("/packed", Script::response(200, "Content-Encoding: gzip\r\n", "media")),
        ("/part", Script::response(206, "Content-Range: bytes 0-4/9\r\n", "media")),
        ("/gone", Script::response(500, "", "")),
        ("/open", Script::send("HTTP/1.1 200 OK\r\n\r\nmedia").close()),
        ("/old", Script::send("HTTP/1.0 200 OK\r\n\r\nmedia").close()),
        ("/otherwise", Script::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nmedia").close()),
        ("/gzip-on-the-way", Script::chunked(200, "Transfer-Encoding: gzip\r\n", &[b"media"])),
        ("/cut", Script::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nmedia").close()),
        ("/chunks", Script::unfinished(200, "", &[b"media"]).close()),
        ("/chunks-suddenly", Script::unfinished(200, "", &[b"media"]).break_off()),
        ("/stalled", Script::unfinished(200, "", &[b"media"]).stall()),
        ("/silent", Script::unfinished(200, "", &[]).stall()),
        ("/endless", Script::unfinished(200, "", &[]).endless_chunks([b'x'; 4096])),
    ] {
        cdn.says(path, script);
    }
    let from = |path: &'static str| (path, at(&cdn.url(path)));

    scene
        .refuses_or_cuts(&[
            from("/packed"),
            from("/part"),
            from("/gone"),
            from("/open"),
            from("/old"),
            from("/otherwise"),
            from("/gzip-on-the-way"),
            from("/cut"),
            from("/chunks"),
            from("/chunks-suddenly"),
            from("/stalled"),
            from("/silent"),
        ])
        .await;
    let mxc = scene.peer.mxc("endless");
    scene.peer.says(&format!("{DOWNLOAD}endless"), at(&cdn.url("/endless")));
    assert!(scene.download(&mxc).await.is_of_too_much(204_800));
    assert_eq!(scene.download(&mxc).await, too_large());
    cdn.is_left_alone().await;
    scene.ours.holds_nothing().await;
}

#[tokio::test]
async fn media_that_is_not_there_either_is_not_found() {
    let scene = Scene::new("").await;
    let cdn = Peer::start("cdn").await;
    cdn.says("/", Script::response(404, "", ""));

    let outcome = scene.outcomes(&[("gone", at(&cdn.url("/gone")))]).await.pop().unwrap().2;

    assert_eq!(outcome, Outcome::Refused(404, "M_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn bytes_beside_a_location_are_not_read_on() {
    let scene = Scene::new("").await;
    let cdn = Peer::start("cdn").await;
    cdn.says("/", Script::response(200, "", "media"));
    let head = format!("{}Location: {}\r\n\r\n", super::FIRST, cdn.url("/"));
    let endless = Script::unfinished(200, MIXED, &[head.as_bytes()]).endless_chunks([b'x'; 4096]);

    scene.takes(b"media", &[("endless", endless)]).await;

    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn a_place_that_leads_back_to_us_ends() {
    let scene = Scene::new("federation.request_timeout = '1s'").await;
    let mxc = scene.peer.mxc("loop");
    let ours = format!("https://{}{}", scene.ours.name(), paths::legacy_download(&mxc));
    scene.peer.says(DOWNLOAD, at(&ours));

    assert_eq!(scene.download(&mxc).await, bad_gateway());

    assert_eq!(scene.peer.received(DOWNLOAD).len(), 1);
    scene.ours.holds_nothing().await;
}
