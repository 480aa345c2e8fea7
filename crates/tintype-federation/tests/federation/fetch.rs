//! Media of other servers: where it is asked for, and what a refusal means.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{Method, StatusCode, header};
use tintype_domain::{Clock as _, Mxc, ServerPattern};
use tintype_federation::{
    Federation, FederationParts, FetchError, FetchTimes, Peers, Question, QuestionKind, RemoteMedia, SignedRequest,
    SigningKey, server_keys,
};

use crate::{
    matrix, server,
    support::{Answer, PATIENCE, Peer, Received, World, answer, json},
};

/// No test takes so long.
pub const LONG: FetchTimes = FetchTimes { answer: PATIENCE, idle: PATIENCE, total: Duration::from_mins(2) };

const THUMBNAIL: QuestionKind = QuestionKind::Thumbnail { width: 64, height: 48, method: "crop" };

pub fn signing_key() -> SigningKey {
    SigningKey::parse("ed25519 a YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap()
}

/// What `us.test` fetches with.
pub fn parts(world: &World) -> FederationParts {
    FederationParts {
        outbound: world.outbound(),
        key_servers: Vec::new(),
        peers: Peers::default(),
        signing_keys: [(server("us.test"), signing_key())].into(),
        times: LONG,
        clock: world.clock.clone(),
    }
}

pub fn federation(world: &World) -> Federation {
    Federation::new(parts(world))
}

/// One that has no key, and so asks the old endpoints alone.
pub fn without_key(world: &World) -> Federation {
    Federation::new(FederationParts { signing_keys: BTreeMap::new(), ..parts(world) })
}

/// Asks for `mxc://example.test/abc`.
pub async fn ask(federation: &Federation, kind: QuestionKind) -> Result<RemoteMedia, FetchError> {
    let mxc = Mxc::parse("mxc://example.test/abc").unwrap();
    let (asker, patience) = (server("us.test"), Duration::from_secs(5));
    federation.fetch(&Question { mxc: &mxc, kind, asker: &asker, patience }).await
}

pub async fn download(federation: &Federation) -> Result<RemoteMedia, FetchError> {
    ask(federation, QuestionKind::Download).await
}

/// All of the bytes, or why they are not all.
pub async fn bytes(media: RemoteMedia) -> Result<Vec<u8>, FetchError> {
    media.body.try_fold(Vec::new(), async |all, bytes| Ok([all, bytes.into()].concat())).await
}

/// What comes in the end.
pub async fn outcome(federation: &Federation) -> Result<Vec<u8>, FetchError> {
    bytes(download(federation).await?).await
}

/// `multipart/mixed` with this head of its second part, and these bytes in it.
pub fn mixed(head: &str, media: &str) -> Answer {
    let text = format!(
        "--abc\r\nContent-Type: application/json\r\n\r\n{{\"a\":1}}\r\n--abc\r\n{head}\r\n\r\n{media}\r\n--abc--\r\n"
    );
    answer(StatusCode::OK, &[(header::CONTENT_TYPE, "multipart/mixed; boundary=abc")], text)
}

fn is_old(request: &Received) -> bool {
    request.target.starts_with("/_matrix/media/")
}

/// An error of a server that answers so.
fn refusal(status: u16, body: &'static str) -> impl Fn(&Received) -> Answer + Send + Sync + 'static {
    let status = StatusCode::from_u16(status).unwrap();
    move |_| answer(status, &[], body)
}

#[tokio::test]
async fn media_comes_as_the_origin_describes_it() {
    let world = World::new().await;
    let peer = matrix(&world, |_| {
        let head = "Content-Type: text/plain\r\nContent-Disposition: attachment; filename*=utf-8''na%C3%AFve.txt\r\nContent-Length: 5";
        mixed(head, "hello")
    })
    .await;

    let media = download(&federation(&world)).await.unwrap();

    assert_eq!(media.content_type.as_deref(), Some(&b"text/plain"[..]));
    assert_eq!(media.filename.as_deref(), Some("naïve.txt"));
    assert_eq!(media.content_length, Some(5));
    assert_eq!(media.metadata["a"], 1);
    assert_eq!(bytes(media).await.unwrap(), b"hello");
    let received = peer.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].method, Method::GET);
    assert_eq!(received[0].target, "/_matrix/federation/v1/media/download/abc?timeout_ms=5000");
}

#[tokio::test]
async fn media_without_a_stated_length_has_none() {
    let world = World::new().await;
    let _peer = matrix(&world, |_| mixed("Content-Type: text/plain", "hello")).await;

    let media = download(&federation(&world)).await.unwrap();

    // The length of the multipart body was stated.
    assert_eq!(media.content_length, None);
}

#[tokio::test]
async fn what_arrives_is_signed_for_the_server_that_is_asked() {
    let world = World::new().await;
    let peer = matrix(&world, |_| mixed("", "hello")).await;
    world.dns.host("us.test", world.address(4));
    let document = server_keys(&server("us.test"), &signing_key(), world.clock.now()).unwrap();
    let tls = world.authority.server(&["us.test"]);
    let _us = Peer::start(world.federation(4), tls, move |_| json(&document)).await;
    let federation = federation(&world);
    outcome(&federation).await.unwrap();

    // As the origin does it.
    let received = peer.received().pop().unwrap();
    let request = SignedRequest {
        method: "GET",
        target: &received.target,
        authorization: vec![received.headers[header::AUTHORIZATION].as_bytes()],
        names: &[server("example.test")],
        host: &server("other.test"),
    };
    let authenticated = federation.authenticate(&request).await.unwrap();

    assert_eq!(authenticated.origin, server("us.test"));
    assert_eq!(authenticated.destination, server("example.test"));
}

#[tokio::test]
async fn a_thumbnail_is_asked_for_as_it_is_wanted() {
    let world = World::new().await;
    let peer = matrix(&world, |request| {
        if is_old(request) { answer(StatusCode::OK, &[], "hello") } else { answer(StatusCode::NOT_FOUND, &[], "") }
    })
    .await;

    ask(&federation(&world), THUMBNAIL).await.unwrap();

    let targets: Vec<_> = peer.received().into_iter().map(|received| received.target).collect();
    let query = "width=64&height=48&method=crop&animated=false&timeout_ms=5000";
    let old = format!("/_matrix/media/v3/thumbnail/example.test/abc?{query}&allow_remote=false&allow_redirect=true");
    assert_eq!(targets, [format!("/_matrix/federation/v1/media/thumbnail/abc?{query}"), old]);
}

#[tokio::test]
async fn a_server_that_does_not_know_the_endpoint_is_asked_at_the_old_one() {
    for (status, body) in [
        (404, r#"{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}"#),
        (405, r#"{"errcode":"M_UNRECOGNIZED"}"#),
        (400, r#"{"errcode":"M_UNRECOGNIZED"}"#),
        (404, ""),
        (404, "<html>Not found"),
        (404, r#"{"error":"Not found"}"#),
        (405, "Method not allowed"),
    ] {
        let world = World::new().await;
        let refuse = refusal(status, body);
        let peer = matrix(&world, move |request| {
            if is_old(request) {
                answer(StatusCode::OK, &[(header::CONTENT_TYPE, "text/plain")], "hello")
            } else {
                refuse(request)
            }
        })
        .await;

        let media = download(&federation(&world)).await.unwrap();

        assert_eq!((media.content_type.clone(), media.content_length), (Some(b"text/plain".to_vec()), Some(5)));
        assert_eq!(bytes(media).await.unwrap(), b"hello", "{status} {body}");
        let old = peer.received().pop().unwrap();
        let query = "timeout_ms=5000&allow_remote=false&allow_redirect=true";
        assert_eq!(old.target, format!("/_matrix/media/v3/download/example.test/abc?{query}"));
        assert_eq!(old.headers.get(header::AUTHORIZATION), None);
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_not_asked_at_the_old_endpoint() {
    for (status, body, expected) in [
        (404, r#"{"errcode":"M_NOT_FOUND"}"#, "NotFound"),
        (401, r#"{"errcode":"M_UNAUTHORIZED"}"#, r#"Refused { status: 401, errcode: Some("M_UNAUTHORIZED") }"#),
        (403, r#"{"errcode":"M_FORBIDDEN"}"#, r#"Refused { status: 403, errcode: Some("M_FORBIDDEN") }"#),
        (400, r#"{"errcode":"M_UNKNOWN"}"#, r#"Refused { status: 400, errcode: Some("M_UNKNOWN") }"#),
        (400, "", "Refused { status: 400, errcode: None }"),
        (500, r#"{"errcode":"M_UNRECOGNIZED"}"#, r#"Refused { status: 500, errcode: Some("M_UNRECOGNIZED") }"#),
        (500, "", "Refused { status: 500, errcode: None }"),
        (502, "", "Refused { status: 502, errcode: None }"),
        (502, r#"{"errcode":"M_TOO_LARGE"}"#, "TooLarge"),
        (413, r#"{"errcode":"M_TOO_LARGE"}"#, "TooLarge"),
        (413, "", "TooLarge"),
        (504, r#"{"errcode":"M_NOT_YET_UPLOADED"}"#, "NotYetUploaded"),
        (504, "", "Refused { status: 504, errcode: None }"),
        (429, "", "RateLimited { retry_after: None }"),
        (429, r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}"#, "RateLimited { retry_after: Some(1.5s) }"),
        // Nothing on this endpoint redirects.
        (307, "", "Refused { status: 307, errcode: None }"),
        (204, "", "Refused { status: 204, errcode: None }"),
        (206, "", "Refused { status: 206, errcode: None }"),
    ] {
        let world = World::new().await;
        let peer = matrix(&world, refusal(status, body)).await;

        let error = download(&federation(&world)).await.unwrap_err();

        assert_eq!(format!("{error:?}"), expected, "{status} {body}");
        assert_eq!(peer.received().len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn a_server_says_when_it_may_be_asked_again() {
    let world = World::new().await;
    let body = r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}"#;
    let status = StatusCode::TOO_MANY_REQUESTS;
    let _peer = matrix(&world, move |_| answer(status, &[(header::RETRY_AFTER, "7")], body)).await;

    let error = download(&federation(&world)).await.unwrap_err();

    assert!(matches!(error, FetchError::RateLimited { retry_after: Some(time) } if time == Duration::from_secs(7)));
}

#[tokio::test]
async fn a_thumbnail_that_the_origin_does_not_make_is_no_failure_of_its_media() {
    let world = World::new().await;
    let _peer = matrix(&world, refusal(400, r#"{"errcode":"M_UNKNOWN"}"#)).await;

    let error = ask(&federation(&world), THUMBNAIL).await.unwrap_err();

    assert!(matches!(error, FetchError::NoThumbnail), "{error:?}");
}

#[tokio::test]
async fn a_server_that_knows_neither_endpoint_has_no_media() {
    let world = World::new().await;
    let peer = matrix(&world, refusal(404, r#"{"errcode":"M_UNRECOGNIZED"}"#)).await;

    let error = download(&federation(&world)).await.unwrap_err();

    assert!(matches!(error, FetchError::NotFound), "{error:?}");
    assert_eq!(peer.received().len(), 2);
}

#[tokio::test]
async fn without_a_key_only_the_old_endpoint_is_asked() {
    let world = World::new().await;
    let peer = matrix(&world, |_| answer(StatusCode::OK, &[], "hello")).await;

    assert_eq!(outcome(&without_key(&world)).await.unwrap(), b"hello");

    assert_eq!(peer.received().iter().map(is_old).collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn a_server_that_is_not_spoken_with_is_not_even_looked_up() {
    let world = World::new().await;
    let peer = matrix(&world, |_| mixed("", "hello")).await;
    let denied: ServerPattern = "*.test".parse().unwrap();
    let peers = Peers::new(Vec::new(), vec![denied]);

    let error = download(&Federation::new(FederationParts { peers, ..parts(&world) })).await.unwrap_err();

    assert!(matches!(error, FetchError::NotAPeer), "{error:?}");
    assert_eq!((peer.connections(), world.dns.questions().len()), (0, 0));
}

#[tokio::test]
async fn a_server_that_is_gone_is_said_to_be() {
    let world = World::new().await;
    world.dns.host("example.test", world.address(3));

    let error = download(&federation(&world)).await.unwrap_err();

    assert!(matches!(error, FetchError::Unreachable(_)), "{error:?}");
    assert_eq!(error.outline(), "it cannot be reached");
}

#[tokio::test]
async fn answers_that_are_not_two_parts_are_refused() {
    let json = "--abc\r\nContent-Type: application/json\r\n\r\n{}\r\n";
    let multipart = "multipart/mixed; boundary=abc";
    let long = format!("--abc\r\n\r\n{{\"a\":\"{}\"}}\r\n", "x".repeat(100_000));
    for (content_type, body) in [
        ("text/plain", "hello".to_owned()),
        ("multipart/mixed", format!("{json}--abc\r\n\r\nhello\r\n--abc--\r\n")),
        (multipart, "hello".to_owned()),
        (multipart, String::new()),
        (multipart, format!("{json}--abc--\r\n")),
        (multipart, format!("{json}--abc\r\n\r\nhello\r\n--abc\r\n\r\nmore\r\n--abc--\r\n")),
        (multipart, format!("{json}--abc\r\n\r\nhello")),
        (multipart, format!("{json}--abc\r\nContent-Length: 4\r\n\r\nhello\r\n--abc--\r\n")),
        (multipart, format!("{json}--abc\r\nContent-Length: 6\r\n\r\nhello\r\n--abc--\r\n")),
        (multipart, "--abc\r\n\r\n[]\r\n--abc\r\n\r\nhello\r\n--abc--\r\n".to_owned()),
        (multipart, format!("{long}--abc\r\n\r\nhello\r\n--abc--\r\n")),
    ] {
        let world = World::new().await;
        let text = body.clone();
        let _peer =
            matrix(&world, move |_| answer(StatusCode::OK, &[(header::CONTENT_TYPE, content_type)], text.clone()))
                .await;

        let error = outcome(&federation(&world)).await.unwrap_err();

        assert!(matches!(error, FetchError::Malformed(_)), "{content_type} {body}: {error:?}");
    }
}

#[tokio::test]
async fn a_last_delimiter_without_its_dashes_ends_a_whole_answer() {
    let world = World::new().await;
    let body = "--abc\r\n\r\n{}\r\n--abc\r\n\r\nhello\r\n--abc\r\n";
    let headers = [(header::CONTENT_TYPE, "multipart/mixed; boundary=\"abc\"")];
    let _peer = matrix(&world, move |_| answer(StatusCode::OK, &headers, body)).await;

    assert_eq!(outcome(&federation(&world)).await.unwrap(), b"hello");
}

#[tokio::test]
async fn bytes_end_after_an_error() {
    let world = World::new().await;
    let body = "--abc\r\n\r\n{}\r\n--abc\r\n\r\nhello";
    let headers = [(header::CONTENT_TYPE, "multipart/mixed; boundary=abc")];
    let _peer = matrix(&world, move |_| answer(StatusCode::OK, &headers, body)).await;

    let media = download(&federation(&world)).await.unwrap();
    let chunks: Vec<_> = media.body.collect().await;

    assert!(chunks.last().unwrap().is_err());
    assert_eq!(chunks.iter().filter(|chunk| chunk.is_err()).count(), 1);
}
