//! A server that takes its time.

use tintype_testing::{Script, pattern};

use super::{FIRST, MIXED, Outcome, Scene};

/// Half a minute of a server that sends a byte now and then.
fn long() -> Vec<u8> {
    vec![b'x'; 1_500]
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_given_up() {
    // Beyond that, the origin has the time that it is asked to wait for its own uploads.
    let scene = Scene::new("federation.request_timeout = '1s'\nlimits.max_wait = '0s'").await;

    scene
        .refuses(&[
            ("nothing", Script::default().stall()),
            ("half a head", Script::send("HTTP/1.1 200 OK\r\n").stall()),
            ("drop by drop", Script::send("HTTP/1.1 200 OK\r\nX: ").drip(long())),
            ("one interim answer after the other", Script::default().endless("HTTP/1.1 100 Continue\r\n\r\n")),
            ("early hints", Script::default().endless("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let scene = Scene::new("federation.idle_timeout = '300ms'").await;
    let begun = |chunk: &str| Script::unfinished(200, MIXED, &[chunk.as_bytes()]).stall();
    let media = format!("{FIRST}\r\nmedia");

    scene
        .refuses_or_cuts(&[
            ("before its first byte", Script::unfinished(200, MIXED, &[]).stall()),
            ("in the first boundary", begun("--bo")),
            ("in the first part", begun(&FIRST[..FIRST.len() - 12])),
            ("in the head of the second part", begun(FIRST)),
            ("in the media", begun(&media)),
            ("in the last boundary", begun(&format!("{media}\r\n--bou"))),
            ("before the last chunk", begun(&format!("{media}\r\n--bound--\r\n"))),
            ("in an error", Script::unfinished(500, "", &[b"{"]).stall()),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn a_body_that_comes_drop_by_drop_has_an_end() {
    let scene = Scene::new("federation.fetch_timeout = '1s'").await;
    let begun = |text: &str| {
        Script::send(format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: 999999\r\n\r\n{text}")).drip(long())
    };

    scene
        .refuses_or_cuts(&[
            ("before the first boundary", begun("")),
            ("in the first part", begun("--bound\r\n\r\n{")),
            ("in the head of the second part", begun(&format!("{FIRST}Content-Type: "))),
            ("in the media", begun(&format!("{FIRST}\r\n"))),
            ("after the media", begun(&format!("{FIRST}\r\nmedia\r\n--bound--\r\n"))),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn a_client_sees_what_has_come_and_then_that_it_was_cut() {
    let scene = Scene::new("federation.idle_timeout = '300ms'").await;
    let chunk = [format!("{FIRST}\r\n").as_bytes(), &pattern(100_000)].concat();
    let cases = [("media", Script::unfinished(200, MIXED, &[&chunk]).stall())];

    let outcome = scene.outcomes(&cases).await.pop().unwrap().2;

    assert_eq!(outcome, Outcome::Aborted(100_000));
    scene.ours.holds_nothing().await;
}

#[tokio::test]
async fn a_slow_server_keeps_nobody_waiting_who_asks_another() {
    let scene = Scene::new("").await;
    let slow = tintype_testing::Peer::start("slow").await;
    slow.says("/", Script::default().stall());
    let waiting = scene.ours.waiting(scene.alice.get(tintype_testing::paths::download(&slow.mxc("slow")))).await;
    slow.is_asked(super::DOWNLOAD).await;

    scene.takes(b"good", &[("another", super::good())]).await;

    drop(waiting);
}
