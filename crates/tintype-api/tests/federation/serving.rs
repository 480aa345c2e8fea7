//! What other servers get: media of ours, with a signature, and nothing else. And who gets media of others from us.

use http::Method;
use serde_json::Value;
use tintype_testing::{TestServer, paths, pattern, pictures};

use super::{ask, pair, signed};

const STABLE: &str = "/_matrix/federation/v1/media";
const UNSTABLE: &str = "/_matrix/federation/unstable/org.matrix.msc3916.v2/media";

fn unauthorized() -> (u16, String) {
    (401, "M_UNAUTHORIZED".to_owned())
}

#[tokio::test]
async fn media_is_given_as_the_second_of_two_parts() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let mxc = bob.upload("hello").content_type("text/plain").filename("a.txt").await;

    for prefix in [STABLE, UNSTABLE] {
        let answer = ask(&ours, &theirs, &format!("{prefix}/download/{}", mxc.media_id)).await;

        assert_eq!(answer.status(), 200, "{:?}", answer.bytes());
        let boundary = answer.header("content-type").strip_prefix("multipart/mixed; boundary=").unwrap();
        let boundary = boundary.trim_matches('"');
        let body = std::str::from_utf8(answer.bytes()).unwrap();
        let parts = body.split(&format!("--{boundary}")).collect::<Vec<_>>();
        assert_eq!(parts.len(), 4, "{body}");
        assert_eq!(parts[3].trim_end(), "--");
        let json = parts[1].split_once("\r\n\r\n").unwrap().1;
        assert_eq!(serde_json::from_str::<Value>(json).unwrap(), serde_json::json!({}));
        assert!(parts[1].to_lowercase().contains("content-type: application/json"));
        let (head, media) = parts[2].split_once("\r\n\r\n").unwrap();
        assert_eq!(media, "hello\r\n");
        assert!(head.to_lowercase().contains("content-type: text/plain"), "{head}");
        assert!(head.contains("a.txt"), "{head}");
        assert_eq!(answer.content_length(), answer.bytes().len());
    }
}

#[tokio::test]
async fn a_thumbnail_is_given_on_the_unstable_path_too() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).await;

    for prefix in [STABLE, UNSTABLE] {
        let query = "width=96&height=96&method=crop&animated=false&timeout_ms=0";
        let answer = ask(&ours, &theirs, &format!("{prefix}/thumbnail/{}?{query}", mxc.media_id)).await;
        let same = bob.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;

        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().windows(same.bytes().len()).any(|window| window == same.bytes()));
    }
}

#[tokio::test]
async fn the_head_of_an_answer_is_signed_as_such() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let target = format!("{STABLE}/download/{}", bob.upload("hello").await.media_id);

    let head = signed(&ours, &theirs, &theirs, Method::HEAD, &target).await;

    assert_eq!((head.status(), head.bytes().len()), (200, 0));
}

#[tokio::test]
async fn other_methods_are_not_recognized() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let id = bob.upload("hello").await.media_id;

    for prefix in [STABLE, UNSTABLE] {
        for target in [format!("{prefix}/download/{id}"), format!("{prefix}/thumbnail/{id}?width=9&height=9")] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let answer = signed(&ours, &theirs, &theirs, method.clone(), &target).await;
                assert_eq!(answer.error(), (405, "M_UNRECOGNIZED".to_owned()), "{method} {target}");
            }
        }
    }
}

#[tokio::test]
async fn what_there_is_not_is_not_found_by_other_servers() {
    let (ours, theirs, _, _) = pair("", "").await;

    for id in ["missing", "..", "%2e%2e%2ftintype.db", "a%00", "%ff"] {
        let answer = ask(&ours, &theirs, &format!("{STABLE}/download/{id}")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()), "{id}");
    }
}

#[tokio::test]
async fn without_a_signature_other_servers_get_nothing() {
    let (_ours, theirs, alice, bob) = pair("", "").await;
    let id = bob.upload("hello").await.media_id;
    let anonymous = theirs.over_tls(&theirs.anonymous());

    for target in [format!("{STABLE}/download/{id}"), format!("{STABLE}/thumbnail/{id}?width=9&height=9")] {
        assert_eq!(anonymous.get(target.as_str()).await.error(), unauthorized());
        assert_eq!(bob.get(target.as_str()).await.error(), unauthorized(), "a token is no signature");
        assert_eq!(anonymous.with_token(alice.token()).get(target.as_str()).await.error(), unauthorized());
    }
    let missing = anonymous.get(format!("{STABLE}/download/missing")).await;
    assert_eq!(missing.error(), unauthorized(), "nobody learns what is there");
}

#[tokio::test]
async fn a_signature_is_no_token() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let mxc = bob.upload("hello").await;

    let answer = ask(&ours, &theirs, &paths::download(&mxc)).await;

    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn media_of_a_third_server_is_not_passed_on() {
    let (first, middle, alice, bob) = pair("", "").await;
    let third = TestServer::federating("third", "").await;
    let mxc = third.user("carol").await.upload(pattern(100_000)).await;
    assert_eq!(bob.get(paths::download(&mxc)).await.status(), 200);
    let target = format!("{STABLE}/download/{}", mxc.media_id);

    let of_the_middle = ask(&first, &middle, &target).await;
    let of_the_third = signed(&first, &middle, &third, Method::GET, &target).await;

    assert_eq!(of_the_middle.error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(of_the_third.error(), unauthorized());
    assert_eq!(alice.get(paths::download(&mxc)).await.status(), 200);
}

#[tokio::test]
async fn guests_read_media_of_others_and_do_nothing_else() {
    let (ours, _theirs, _, bob) = pair("", "").await;
    let guest = ours.guest("guest").await;
    let mxc = bob.upload(pictures::jpeg(400, 300)).await;

    let thumbnail = guest.get(paths::thumbnail(&mxc, "width=96&height=96&method=crop")).await;
    let download = guest.get(paths::download(&mxc)).await;

    assert_eq!(pictures::look(thumbnail.bytes()), ("jpeg", 96, 96));
    assert!(*download.bytes() == pictures::jpeg(400, 300));
    let forbidden = (403, "M_GUEST_ACCESS_FORBIDDEN".to_owned());
    assert_eq!(guest.post(paths::UPLOAD).body("hello").await.error(), forbidden);
    assert_eq!(guest.post(paths::CREATE).await.error(), forbidden);
    assert_eq!(guest.put(&mxc).body("hello").await.error(), forbidden);
    assert_eq!(guest.get(paths::CONFIG).await.error(), forbidden);
}

#[tokio::test]
async fn without_a_token_nothing_is_fetched() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let mxc = bob.upload("hello").await;
    let (anonymous, stranger) = (ours.anonymous(), ours.anonymous().with_token("unknown"));

    for path in [paths::download(&mxc), paths::thumbnail(&mxc, "width=9&height=9")] {
        assert_eq!(anonymous.get(path.as_str()).await.error(), (401, "M_MISSING_TOKEN".to_owned()));
        assert_eq!(stranger.get(path.as_str()).await.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
        assert_eq!(bob.get(path.as_str()).await.status() / 100, if path.contains("download") { 2 } else { 4 });
    }
    assert_eq!(ours.metric("tintype_fetches_total").await, 0);
    assert_eq!(theirs.requests("federation_download").await, 0);
}

#[tokio::test]
async fn a_server_waits_for_what_was_promised_and_reads_while_it_arrives() {
    let (ours, theirs, _, bob) = pair("", "").await;
    let mxc = bob.create().await;
    let target = format!("{STABLE}/download/{}", mxc.media_id);
    let refused = ask(&ours, &theirs, &format!("{target}?timeout_ms=0")).await;
    assert_eq!(refused.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));

    let waiting = theirs.waiting(ask(&ours, &theirs, &target).open()).await;
    let mut upload = bob.put(&mxc).feed_chunked().await;
    upload.send("hel").await;
    let mut reading = waiting.await;
    assert_eq!(reading.header("transfer-encoding"), "chunked");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nhel") {
        seen.extend_from_slice(&reading.bytes(1).await);
    }
    upload.send("lo").await;
    upload.finish().await;

    let rest = reading.whole().await;
    assert!(rest.starts_with(b"lo\r\n--") && rest.trim_ascii_end().ends_with(b"--"), "{rest:?}");
}

#[tokio::test]
async fn what_other_servers_need_to_know_of_us_is_on_the_tls_port() {
    let (ours, _theirs, _, _) = pair("", "").await;
    let anonymous = ours.over_tls(&ours.anonymous());

    for path in ["/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519:auto"] {
        let document = anonymous.get(path).await.json();
        assert_eq!(document["server_name"], ours.name().as_str());
        assert_eq!(document["verify_keys"].as_object().unwrap().len(), 1);
        assert!(document["signatures"][ours.name().as_str()].is_object());
    }
    let version = anonymous.get("/_matrix/federation/v1/version").await.json();
    assert!(version["server"]["name"].is_string(), "{version}");
    assert!(version["server"]["version"].is_string(), "{version}");
    let unknown = anonymous.get("/_matrix/federation/v1/event/$abc").await;
    assert_eq!(unknown.error(), (404, "M_UNRECOGNIZED".to_owned()));
}

#[tokio::test]
async fn keys_are_asked_for_once() {
    let (ours, theirs, alice, bob) = pair("", "").await;
    ours.is_at_one_node("each node remembers for itself who signs with which keys");
    theirs.is_at_one_node("each node remembers for itself who signs with which keys");
    let mut uploaded = Vec::new();
    for number in 0..5 {
        uploaded.push(alice.upload(format!("number {number}")).await);
    }

    for mxc in &uploaded {
        assert_eq!(bob.get(paths::download(mxc)).await.status(), 200);
    }

    // The keys and nothing else of what has no counter of its own, and what a name without delegation is asked for.
    assert!(theirs.requests("other").await <= 2, "{}", theirs.requests("other").await);
}
