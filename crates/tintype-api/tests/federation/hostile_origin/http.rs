//! What is no HTTP, or HTTP that leads somewhere else.

use serde_json::json;
use tintype_testing::{Peer, Script};

use super::{DOWNLOAD, MIXED, Outcome, Scene, two_parts};

fn body() -> Vec<u8> {
    two_parts("", "media")
}

#[tokio::test]
async fn what_is_no_answer_of_http_is_refused() {
    let scene = Scene::new("").await;
    let many = "X: y\r\n".repeat(500);
    let long = format!("X: {}\r\n", "y".repeat(300_000));
    let twice = format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: 5\r\nContent-Length: 6\r\n\r\nmedia");

    scene
        .refuses(&[
            ("nothing", Script::default().close()),
            ("nothing, suddenly", Script::default().break_off()),
            ("mail", Script::send("220 mail.example ESMTP\r\n").close()),
            ("half a status line", Script::send("HTTP/1.1 2").close()),
            ("a version that is none", Script::send("HTTP/9.9 200 OK\r\n\r\n").close()),
            ("a status that is none", Script::send("HTTP/1.1 2000 OK\r\n\r\n").close()),
            (
                "another protocol",
                Script::send("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").close(),
            ),
            ("many headers", Script::response(200, &format!("{MIXED}{many}"), body())),
            ("a long header", Script::response(200, &format!("{MIXED}{long}"), body())),
            ("two lengths", Script::send(twice).close()),
            (
                "a length that is none",
                Script::send(format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: -1\r\n\r\n")).close(),
            ),
            ("endless headers", Script::send("HTTP/1.1 200 OK\r\n").endless("X-Endless: yes\r\n")),
            ("one endless header", Script::send("HTTP/1.1 200 OK\r\nX: ").endless([b'y'; 4096])),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn chunks_and_trailers_without_an_end_are_given_up() {
    // The size of a chunk may have as many zeros as there is time for.
    let scene = Scene::new("federation.idle_timeout = '300ms'").await;
    let begun = || Script::unfinished(200, MIXED, &[&body()]);

    scene
        .refuses_or_cuts(&[
            ("a chunk's size", begun().endless("0")),
            ("a chunk's extension", begun().then("5;").endless([b'x'; 4096])),
            ("trailers", begun().then("0\r\n").endless("X-Trailer: yes\r\n")),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn a_length_of_http_that_lies_is_found_out() {
    let scene = Scene::new("").await;
    let body = body();
    let stated = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: {length}\r\n\r\n");
        Script::send(head).then(&body).close()
    };

    scene.refuses_or_cuts(&[("too long", stated(body.len() + 1)), ("too short", stated(body.len() - 7))]).await;
}

#[tokio::test]
async fn what_follows_an_answer_is_not_taken_for_the_next_one() {
    let scene = Scene::new("").await;
    let second = [b"HTTP/1.1 200 OK\r\n", MIXED.as_bytes(), b"Content-Length: 9\r\n\r\ninjected!"].concat();
    scene.peer.says(DOWNLOAD, Script::response(200, MIXED, body()).then(second));

    for media_id in ["first", "second"] {
        assert_eq!(scene.download(&scene.peer.mxc(media_id)).await, Outcome::Whole(b"media".to_vec()));
    }
}

#[tokio::test]
async fn packed_answers_are_refused_and_nobody_unpacks_them() {
    let scene = Scene::new("").await;
    let packed = |coding: &str| Script::response(200, &format!("{MIXED}Content-Encoding: {coding}\r\n"), body());

    scene
        .refuses(&[
            ("gzip", packed("gzip")),
            ("br", packed("br")),
            ("twice", packed("identity\r\nContent-Encoding: deflate")),
            ("in a list", packed("identity, gzip")),
            (
                "on the way",
                Script::send(format!("HTTP/1.1 200 OK\r\n{MIXED}Transfer-Encoding: gzip\r\n\r\nmedia")).close(),
            ),
        ])
        .await;

    let asked = scene.peer.received(DOWNLOAD).pop().unwrap();
    assert!(!asked.headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn a_redirect_of_the_authenticated_endpoint_is_not_followed() {
    let scene = Scene::new("").await;
    let elsewhere = Peer::start("elsewhere").await;
    let to = format!("Location: {}\r\n", elsewhere.url("/media"));
    let redirect = |status| Script::response(status, &to, "");

    scene
        .refuses(&[
            ("301", redirect(301)),
            ("302", redirect(302)),
            ("303", redirect(303)),
            ("307", redirect(307)),
            ("308", redirect(308)),
            ("without a place", Script::response(307, "", "")),
        ])
        .await;

    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn other_statuses_are_not_media() {
    let scene = Scene::new("").await;
    let with = |status| Script::response(status, MIXED, body());

    scene
        .refuses(&[
            ("201", with(201)),
            ("202", with(202)),
            ("206", with(206)),
            ("401", Script::error(401, "M_UNAUTHORIZED")),
            ("403", Script::error(403, "M_FORBIDDEN")),
            ("500", Script::error(500, "M_UNKNOWN")),
            ("an error without a length or an end", Script::unfinished(500, "", &[]).endless_chunks([b'x'; 4096])),
            ("a strange error", Script::json(418, &json!({ "errcode": "<script>" }))),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn what_a_server_says_of_its_media_is_passed_on() {
    let scene = Scene::new("").await;
    let refused = |status, errcode: &str| Outcome::Refused(status, errcode.to_owned());

    let outcomes = scene
        .outcomes(&[
            ("not there", Script::error(404, "M_NOT_FOUND")),
            ("not yet", Script::error(504, "M_NOT_YET_UPLOADED")),
            ("too large", Script::error(502, "M_TOO_LARGE")),
            ("too often", Script::error(429, "M_LIMIT_EXCEEDED")),
        ])
        .await;

    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, _, outcome)| outcome).collect();
    let expected = [(404, "M_NOT_FOUND"), (504, "M_NOT_YET_UPLOADED"), (502, "M_TOO_LARGE"), (429, "M_LIMIT_EXCEEDED")];
    assert_eq!(outcomes, expected.map(|(status, errcode)| refused(status, errcode)));
    scene.ours.holds_nothing().await;
}

#[tokio::test]
async fn nobody_is_made_to_wait_for_ever_by_a_server_that_is_asked_too_often() {
    let scene = Scene::new("").await;
    scene.peer.says(DOWNLOAD, Script::response(429, "Retry-After: 18446744073709551615\r\n", "{}"));

    let answer = scene.alice.get(tintype_testing::paths::download(&scene.peer.mxc("busy"))).await;

    assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert_eq!(answer.json()["retry_after_ms"], 600_000);
    assert_eq!(answer.header("retry-after"), "600");
}
