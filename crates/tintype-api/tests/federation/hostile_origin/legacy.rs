//! The old endpoint of a server that says that it knows no other.

use tintype_testing::{Peer, Script};

use super::{DOWNLOAD, LEGACY, Outcome, Scene, bad_gateway, too_large};

/// Lets the peer give each of these answers at its old endpoint, and sees what becomes of them.
async fn outcomes(scene: &Scene, cases: &[(&str, Script)]) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    for (number, (name, script)) in cases.iter().enumerate() {
        let mxc = scene.peer.mxc(&format!("old{number}_"));
        scene.peer.says(LEGACY, script.clone());
        outcomes.push(((*name).to_owned(), scene.download(&mxc).await));
        scene.keeps_nothing_of(&mxc, name).await;
    }
    outcomes
}

#[tokio::test]
async fn an_answer_that_does_not_say_where_it_ends_is_refused() {
    let scene = Scene::new("").await;
    let open = |head: &str| Script::send(format!("{head}\r\n\r\nmedia")).close();

    let outcomes = outcomes(
        &scene,
        &[
            ("neither length nor chunks", open("HTTP/1.1 200 OK")),
            ("HTTP/1.0", open("HTTP/1.0 200 OK")),
            ("closing", open("HTTP/1.1 200 OK\r\nConnection: close")),
            ("no chunks", open("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity")),
            ("packed on the way", open("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip")),
            ("packed within chunks", Script::chunked(200, "Transfer-Encoding: gzip\r\n", &[b"media"])),
            ("packed", Script::response(200, "Content-Encoding: gzip\r\n", "media")),
            ("nothing", Script::default().close()),
        ],
    )
    .await;

    for (name, outcome) in outcomes {
        assert_eq!(outcome, bad_gateway(), "{name}");
    }
    scene.ours.holds_nothing().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_kept() {
    let scene = Scene::new("federation.idle_timeout = '300ms'").await;
    let stated = Script::send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmedia");
    let chunked = Script::unfinished(200, "", &[b"media"]);

    let outcomes = outcomes(
        &scene,
        &[
            ("in order", stated.clone().close()),
            ("suddenly", stated.clone().break_off()),
            ("silently", stated.stall()),
            ("chunks, in order", chunked.clone().close()),
            ("chunks, suddenly", chunked.clone().break_off()),
            ("chunks, silently", chunked.clone().stall()),
            ("within the last chunk", chunked.then("0\r\n").close()),
        ],
    )
    .await;

    for (name, outcome) in outcomes {
        assert!(matches!(outcome, Outcome::Refused(502, _) | Outcome::Aborted(_)), "{name}: {outcome:?}");
    }
    scene.ours.holds_nothing().await;
}

#[tokio::test]
async fn redirects_are_filtered_and_only_those_followed_that_were_invited() {
    let inside = Peer::start("inside").await;
    let theirs = Peer::at([127, 0, 0, 2]).await;
    let scene = Scene::beside(theirs, "federation.allow_addresses = ['127.0.0.2/32']").await;
    let to = |status, url: &str| Script::response(status, &format!("Location: {url}\r\n"), "");
    scene.peer.says("/media", Script::response(200, "", "media"));
    let here = scene.peer.url("/media");

    let outcomes = outcomes(
        &scene,
        &[
            ("301", to(301, &here)),
            ("302", to(302, &here)),
            ("303", to(303, &here)),
            ("inside", to(307, &inside.url("/"))),
            ("plain", to(307, &here.replace("https", "http"))),
            ("a path", to(308, "/media")),
            ("nowhere", Script::response(308, "", "")),
        ],
    )
    .await;

    for (name, outcome) in outcomes {
        assert_eq!(outcome, bad_gateway(), "{name}");
    }
    assert_eq!(inside.connections(), 0);
    assert!(scene.peer.received("/media").is_empty());
    for status in [307, 308] {
        scene.peer.says(LEGACY, to(status, &here));
        let mxc = scene.peer.mxc(&format!("moved{status}"));
        assert_eq!(scene.download(&mxc).await, Outcome::Whole(b"media".to_vec()));
    }
}

#[tokio::test]
async fn media_that_is_too_large_is_refused_or_cut() {
    let scene = Scene::new("limits.max_remote_size = '200KiB'").await;
    let large = "HTTP/1.1 200 OK\r\nContent-Length: 204801\r\n\r\n";

    let outcomes = outcomes(
        &scene,
        &[
            ("stated", Script::send(large).stall()),
            ("endless", Script::unfinished(200, "", &[]).endless_chunks([b'x'; 4096])),
        ],
    )
    .await;

    assert_eq!(outcomes[0].1, too_large());
    assert!(outcomes[1].1.is_of_too_much(204_800), "{outcomes:?}");
    scene.peer.is_left_alone().await;
    scene.ours.holds_nothing().await;
}

#[tokio::test]
async fn the_old_endpoint_is_asked_only_where_the_new_one_is_unknown_and_without_a_signature() {
    let scene = Scene::new("").await;
    scene.peer.says(LEGACY, Script::response(200, "", "media"));
    for (number, (script, asked)) in [
        (Script::error(404, "M_UNRECOGNIZED"), 1),
        (Script::error(400, "M_UNRECOGNIZED"), 1),
        (Script::response(404, "", "<h1>Not found</h1>"), 1),
        (Script::response(405, "", ""), 1),
        (Script::error(404, "M_NOT_FOUND"), 0),
        (Script::error(401, "M_UNAUTHORIZED"), 0),
        (Script::error(403, "M_FORBIDDEN"), 0),
        (Script::error(500, "M_UNRECOGNIZED"), 0),
        (Script::response(502, "", "<h1>Bad gateway</h1>"), 0),
    ]
    .into_iter()
    .enumerate()
    {
        let mxc = scene.peer.mxc(&format!("old{number}"));
        scene.peer.says(DOWNLOAD, script);
        scene.download(&mxc).await;
        let of_it = format!("{LEGACY}{}/{}", scene.peer.name().as_str().replace(':', "%3A"), mxc.media_id);
        assert_eq!(scene.peer.received(&of_it).len(), asked, "{number}");
    }

    for received in scene.peer.received(LEGACY) {
        assert!(received.target.contains("allow_remote=false"), "{}", received.target);
        assert!(!received.headers.contains_key("authorization"));
    }
}
