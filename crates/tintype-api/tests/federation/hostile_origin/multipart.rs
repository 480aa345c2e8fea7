//! What is no answer in two parts, and what nearly is.

use tintype_testing::{Script, pattern};

use super::{DOWNLOAD, FIRST, LAST, MIXED, Scene, two_parts};

/// An answer with this body, and the length of it.
fn mixed(body: impl AsRef<[u8]>) -> Script {
    Script::response(200, MIXED, body)
}

/// Media after boundaries that have this at the ends of their lines.
fn with_lines(media: &str, end: &str) -> String {
    format!("--bound{end}Content-Type: application/json\r\n\r\n{{}}\r\n--bound{end}\r\n{media}{LAST}")
}

fn with_type(content_type: &str) -> Script {
    Script::response(200, &format!("Content-Type: {content_type}\r\n"), two_parts("", "media"))
}

#[tokio::test]
async fn an_answer_of_another_type_is_refused() {
    let scene = Scene::new("").await;

    scene
        .refuses(&[
            ("no type", Script::response(200, "", two_parts("", "media"))),
            ("no boundary", with_type("multipart/mixed")),
            ("an empty boundary", with_type("multipart/mixed; boundary=\"\"")),
            ("two boundaries", with_type("multipart/mixed; boundary=bound; boundary=bound")),
            ("another multipart", with_type("multipart/form-data; boundary=bound")),
            ("JSON", Script::json(200, &serde_json::json!({ "content_uri": "mxc://a/b" }))),
            ("the bare media", Script::response(200, "Content-Type: image/png\r\n", "media")),
            ("nothing", mixed("")),
        ])
        .await;
}

#[tokio::test]
async fn an_answer_without_its_two_parts_is_refused() {
    let scene = Scene::new("").await;
    let one = "--bound\r\nContent-Type: application/json\r\n\r\n{}";

    scene
        .refuses(&[
            ("a boundary that never comes", mixed("nothing\r\n--other\r\n\r\nof it\r\n--other--\r\n")),
            ("no part", mixed("--bound--\r\n")),
            ("one part", mixed(format!("{one}{LAST}"))),
            ("one part without an end", mixed(format!("{one}\r\n--bound\r\n"))),
            ("one part that is cut", mixed(one)),
            ("a second part without a body", mixed(format!("{FIRST}Content-Type: text/plain\r\n"))),
            ("something on the line of a boundary", mixed(with_lines("m", " x\r\n"))),
        ])
        .await;
}

#[tokio::test]
async fn a_first_part_that_is_no_json_object_is_refused() {
    let scene = Scene::new("").await;
    let first = |head: &str, json: &str| mixed(format!("--bound\r\n{head}\r\n{json}\r\n--bound\r\n\r\nmedia{LAST}"));
    let json = "Content-Type: application/json\r\n";
    let begin = format!("--bound\r\n{json}\r\n");

    scene
        .refuses(&[
            ("an array", first(json, "[]")),
            ("no JSON", first(json, "{")),
            ("nothing", first(json, "")),
            ("deep JSON", first(json, &"{\"a\":".repeat(10_000))),
            ("text", first("Content-Type: text/plain\r\n", "{}")),
            ("the media first", first("Content-Type: image/png\r\n", "media")),
            ("long JSON", first(json, &format!("{{\"a\":\"{}\"}}", "a".repeat(70_000)))),
            ("endless JSON", Script::unfinished(200, MIXED, &[begin.as_bytes()]).endless_chunks([b' '; 4096])),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn a_part_with_a_bad_head_is_refused() {
    let scene = Scene::new("").await;
    let head = |head: &str| mixed(two_parts(head, "media"));
    let line = format!("X: {}\r\n", "x".repeat(1000));

    scene
        .refuses(&[
            ("no colon", head("Content-Type text/plain\r\n")),
            ("a continued line", head("Content-Type: text/plain;\r\n charset=utf-8\r\n")),
            ("a bare CR", head("Content-Type: text/plain\rX: y\r\n")),
            ("a NUL", head("Content-Type: text/\0plain\r\n")),
            ("two types", head("Content-Type: text/plain\r\nContent-Type: text/html\r\n")),
            ("a length with a sign", head("Content-Length: +5\r\n")),
            ("two lengths", head("Content-Length: 5\r\nContent-Length: 6\r\n")),
            ("a length beyond numbers", head("Content-Length: 99999999999999999999999\r\n")),
            ("a long head", head(&line.repeat(9))),
            ("packed media", head("Content-Encoding: gzip\r\n")),
            ("wrapped media", head("Content-Transfer-Encoding: base64\r\n")),
            ("an endless head", Script::unfinished(200, MIXED, &[FIRST.as_bytes()]).endless_chunks(&line)),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn media_that_does_not_end_as_it_should_is_not_kept() {
    let scene = Scene::new("").await;
    let whole = two_parts("", "media");
    let cut = |missing: usize| &whole[..whole.len() - missing];
    let third = "\r\n--bound\r\nContent-Type: text/plain\r\n\r\nmore\r\n--bound--\r\n";
    let stated = |length: usize| mixed(two_parts(&format!("Content-Length: {length}\r\n"), "media"));

    scene
        .refuses_or_cuts(&[
            ("no delimiter", mixed(cut(LAST.len()))),
            ("no delimiter, in chunks", Script::chunked(200, MIXED, &[cut(LAST.len())])),
            ("half a delimiter", mixed(cut(6))),
            ("half a delimiter, in chunks", Script::chunked(200, MIXED, &[cut(6)])),
            ("half of the dashes at its end", mixed(cut(3))),
            ("three parts", mixed([cut(LAST.len()), third.as_bytes()].concat())),
            ("three parts in chunks", Script::chunked(200, MIXED, &[cut(LAST.len()), third.as_bytes()])),
            ("fewer bytes than stated", stated(6)),
            ("more bytes than stated", stated(4)),
            ("an epilogue without an end", Script::unfinished(200, MIXED, &[&whole]).endless_chunks([b'x'; 4096])),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_anywhere_is_not_kept() {
    let scene = Scene::new("").await;
    let body = two_parts("Content-Type: text/plain\r\n", pattern(200));
    let head = format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), &body].concat();
    let places = [1, 20, head.len() - 1, head.len(), head.len() + 1, head.len() + 12, head.len() + FIRST.len() - 8]
        .into_iter()
        .chain([head.len() + FIRST.len(), answer.len() - LAST.len() - 100])
        .chain(answer.len() - LAST.len()..answer.len());

    let cases: Vec<_> = places
        .flat_map(|place| {
            let begun = Script::send(&answer[..place]);
            [(format!("{place}, in order"), begun.clone().close()), (format!("{place}, suddenly"), begun.break_off())]
        })
        .collect();
    let cases: Vec<_> = cases.iter().map(|(name, script)| (name.as_str(), script.clone())).collect();
    scene.refuses_or_cuts(&cases).await;
}

#[tokio::test]
async fn chunks_without_the_last_one_are_not_kept_even_if_both_parts_are_whole() {
    let scene = Scene::new("").await;
    let whole = two_parts("", "media");
    let unfinished = Script::unfinished(200, MIXED, &[&whole]);

    scene
        .refuses_or_cuts(&[
            ("in order", unfinished.clone().close()),
            ("suddenly", unfinished.clone().break_off()),
            ("within the last chunk", unfinished.clone().then("0\r\n").close()),
            ("no chunk", unfinished.then("what is this\r\n").close()),
        ])
        .await;
}

#[tokio::test]
async fn what_others_leave_out_or_add_is_no_reason_to_refuse_their_media() {
    let scene = Scene::new("").await;
    let whole = two_parts("Content-Type: text/plain\r\n", "media");
    let cut = |missing: usize| &whole[..whole.len() - missing];
    let untyped = format!("--bound\r\n\r\n{{}}\r\n--bound\r\n\r\nmedia{LAST}");
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();

    scene
        .takes(
            b"media",
            &[
                ("no dashes at the end", mixed(cut(4))),
                ("no dashes at the end, but a line end", mixed([cut(4), b"\r\n"].concat())),
                ("no dashes at the end, in chunks", Script::chunked(200, MIXED, &[cut(4)])),
                ("a preamble", mixed([b"This is MIME.\r\n\r\n", &whole[..]].concat())),
                ("an epilogue", mixed([&whole[..], b"Goodbye"].concat())),
                ("a first part without a type", mixed(untyped)),
                ("LF at the ends of header lines", mixed(two_parts("Content-Type: text/plain\n", "media"))),
                ("a length", mixed(two_parts("Content-Length: 5\r\n", "media"))),
                ("spaces behind a boundary", mixed(with_lines("media", " \t\r\n"))),
                ("single bytes", Script::chunked(200, MIXED, &bytes)),
            ],
        )
        .await;
}

#[tokio::test]
async fn a_boundary_within_the_media_is_one_only_at_the_beginning_of_a_line() {
    let scene = Scene::new("").await;
    let media = b"--bound--\r\n--boun\r\n--boundary\r\n\r\r\n--bound!x--bound--y\n--bound\n--bound--\r\n-";
    let whole = two_parts("", &media[1..]);
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    let threes: Vec<&[u8]> = whole.chunks(3).collect();

    scene
        .takes(
            &media[1..],
            &[
                ("at once", mixed(&whole)),
                ("in single bytes", Script::chunked(200, MIXED, &bytes)),
                ("in threes", Script::chunked(200, MIXED, &threes)),
            ],
        )
        .await;
    scene
        .refuses_or_cuts(&[
            ("a line that is a boundary", mixed(two_parts("", "a\r\n--bound\r\nb"))),
            ("a boundary with spaces behind it", mixed(two_parts("", "a\r\n--bound  \r\nb"))),
        ])
        .await;
}

#[tokio::test]
async fn empty_media_is_media() {
    let scene = Scene::new("").await;

    scene
        .takes(b"", &[("empty", mixed(two_parts("", ""))), ("stated", mixed(two_parts("Content-Length: 0\r\n", "")))])
        .await;
}

#[tokio::test]
async fn a_preamble_without_an_end_is_given_up() {
    let scene = Scene::new("").await;

    scene
        .refuses(&[
            ("in chunks", Script::unfinished(200, MIXED, &[]).endless_chunks([b'-'; 4096])),
            (
                "with a length",
                Script::send(format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: 9999999999\r\n\r\n"))
                    .endless([b'\r'; 4096]),
            ),
        ])
        .await;
    scene.peer.is_left_alone().await;
}

#[tokio::test]
async fn media_without_an_end_is_cut_where_it_is_too_large() {
    let scene = Scene::new("limits.max_remote_size = '200KiB'").await;
    scene.ours.is_at_one_node("each node remembers for itself what another server said");
    let begin = format!("{FIRST}\r\n");
    let length = format!("HTTP/1.1 200 OK\r\n{MIXED}Content-Length: 9999999999\r\n\r\n{begin}");
    let cases = [
        ("in chunks", Script::unfinished(200, MIXED, &[begin.as_bytes()]).endless_chunks([b'x'; 4096])),
        ("with a length", Script::send(length).endless([b'x'; 4096])),
    ];

    let outcomes = scene.outcomes(&cases).await;
    for (mxc, name, outcome) in &outcomes {
        assert!(outcome.is_of_too_much(204_800), "{name}: {outcome:?}");
        assert_eq!(scene.download(mxc).await, super::too_large(), "{name}");
    }

    scene.peer.is_left_alone().await;
    scene.ours.holds_nothing().await;
    // It may have cost much to find out, so it is remembered for longer.
    assert_eq!(scene.peer.received(DOWNLOAD).len(), 2);
    scene.ours.advance(std::time::Duration::from_mins(10));
    scene.forgets(&outcomes).await;
}

#[tokio::test]
async fn media_that_says_that_it_is_too_large_is_refused_at_once() {
    let scene = Scene::new("limits.max_remote_size = '200KiB'").await;
    let head = format!("{FIRST}Content-Length: 204801\r\n\r\n");
    let mxc = scene.peer.mxc("large");
    scene.peer.says(DOWNLOAD, Script::unfinished(200, MIXED, &[head.as_bytes()]).stall());

    assert_eq!(scene.download(&mxc).await, super::too_large());

    scene.peer.is_left_alone().await;
    scene.ours.holds_nothing().await;
}
