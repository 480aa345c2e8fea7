//! What every endpoint has in common: CORS, and answers to what is not served.

use http::Method;
use tintype_testing::{Response, TestServer, paths, pattern, pictures::png};

const UNRECOGNIZED: &str = "M_UNRECOGNIZED";

fn allows_every_origin(answer: &Response) {
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let methods = answer.header("access-control-allow-methods");
        assert!(methods.split(", ").any(|allowed| allowed == method), "{method} is missing in {methods}");
    }
    let allowed = ["X-Requested-With", "Content-Type", "Authorization", "Range", "If-Range"];
    for name in allowed.into_iter().chain(["Upload-Complete", "Upload-Offset", "Upload-Length"]) {
        let names = answer.header("access-control-allow-headers");
        assert!(names.split(", ").any(|allowed| allowed == name), "{name} is missing in {names}");
    }
    let exposed = ["Content-Range", "ETag", "Retry-After", "Location"];
    for name in exposed.into_iter().chain(["Upload-Complete", "Upload-Offset", "Upload-Length", "Upload-Limit"]) {
        let names = answer.header("access-control-expose-headers");
        assert!(names.split(", ").any(|exposed| exposed == name), "{name} is missing in {names}");
    }
}

#[tokio::test]
async fn every_answer_may_be_read_from_every_origin() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;
    let etag = alice.get(paths::download(&mxc)).await.header("etag").to_owned();
    let [reserved, partial] = [alice.create().await, alice.create().await];

    for (request, status) in [
        (alice.get(paths::download(&mxc)), 200),
        (alice.get(paths::download(&mxc)).header("range", "bytes=0-1"), 206),
        (alice.get(paths::download(&mxc)).header("range", "bytes=0-1,9-10"), 206),
        (alice.get(paths::download(&mxc)).header("range", "bytes=99999-"), 416),
        (alice.get(paths::download(&mxc)).header("if-none-match", &etag), 304),
        (alice.get(paths::download(&mxc)).header("if-match", "\"x\""), 412),
        (alice.head(paths::download(&mxc)), 200),
        (alice.get(paths::thumbnail(&mxc, "width=9&height=9")), 200),
        (alice.get(paths::thumbnail(&mxc, "width=9")), 400),
        (alice.get(paths::CONFIG), 200),
        (alice.post(paths::UPLOAD).body("hello"), 200),
        (alice.post(paths::CREATE), 200),
        (alice.post(paths::CREATE).body("[]"), 400),
        (alice.get(paths::download(&reserved) + "?timeout_ms=0"), 504),
        (alice.put(&partial).incomplete().body("hel"), 201),
        (alice.head(paths::put(&partial)), 204),
        (alice.patch(&partial, 0).complete(), 409),
        (alice.patch(&partial, 3).complete().body("lo"), 200),
        (alice.request(Method::DELETE, paths::put(&reserved)), 204),
        (alice.put(&reserved).body("hello"), 200),
        (alice.put(&reserved).body("hello"), 409),
        (server.anonymous().get(paths::CONFIG), 401),
        (server.anonymous().post(paths::CREATE), 401),
        (server.anonymous().get(paths::legacy_download(&mxc)), 404),
        (alice.get("/_matrix/client/v1/media/nothing"), 404),
        (alice.request(Method::DELETE, paths::CONFIG), 405),
        (alice.get("/"), 404),
    ] {
        let answer = request.await;
        assert_eq!(answer.status(), status, "{answer:?}");
        allows_every_origin(&answer);
    }
}

#[tokio::test]
async fn options_are_answered_everywhere_without_a_token_and_without_doing_anything() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;

    for path in [
        paths::UPLOAD.to_owned(),
        paths::CREATE.to_owned(),
        paths::UNSTABLE_CREATE.to_owned(),
        paths::put(&mxc),
        paths::unstable_put(&mxc),
        paths::CONFIG.to_owned(),
        paths::download(&mxc),
        paths::thumbnail(&mxc, "width=32&height=32"),
        paths::legacy_download(&mxc),
        "/_matrix/client/versions".to_owned(),
        "/_matrix/client/v1/media/nothing".to_owned(),
    ] {
        for client in [&alice, &server.anonymous()] {
            let answer = client.request(Method::OPTIONS, path.as_str()).await;
            assert!((200..300).contains(&answer.status()), "{path}: {}", answer.status());
            assert_eq!(answer.bytes().len(), 0);
            allows_every_origin(&answer);
        }
    }
    assert_eq!(server.metric("tintype_thumbnails_made_total").await, 0);
    assert_eq!(server.metric("tintype_uploads_total").await, 1);
}

#[tokio::test]
async fn a_path_that_is_not_served_is_unrecognized() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    for path in [
        "/",
        "//",
        "/_matrix",
        "/_matrix/media",
        "/_matrix/media/v3",
        "/_matrix/media/v2/config",
        "/_matrix/media/v3/download",
        "/_matrix/media/v3/download/localhost",
        "/_matrix/media/v3/upload/localhost",
        "/_matrix/media/v3/upload/localhost/a/b",
        "/_matrix/media/unstable/fi.mau.msc2246/upload",
        "/_matrix/client/v1/media",
        "/_matrix/client/v1/media/uploads",
        "/_matrix/client/v1/media/download/localhost/a/b/c",
        "/_matrix/client/v3/sync",
        "/_matrix/client/v1/media/../../../../etc/passwd",
        "/_MATRIX/client/v1/media/config",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let answer = alice.request(method.clone(), path).await;
            assert_eq!(answer.error(), (404, UNRECOGNIZED.to_owned()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_unrecognized() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let mxc = alice.upload(png(64, 48)).await;
    let trace = Method::TRACE;

    for (method, path) in [
        (Method::GET, paths::UPLOAD.to_owned()),
        (Method::DELETE, paths::UPLOAD.to_owned()),
        (Method::GET, paths::CREATE.to_owned()),
        (Method::PUT, paths::CREATE.to_owned()),
        (Method::POST, paths::put(&mxc)),
        (Method::POST, paths::CONFIG.to_owned()),
        (Method::PUT, paths::download(&mxc)),
        (Method::DELETE, paths::download(&mxc)),
        (Method::PATCH, paths::thumbnail(&mxc, "width=32&height=32")),
        (Method::POST, paths::legacy_download(&mxc)),
        (Method::POST, "/_matrix/client/versions".to_owned()),
        (trace, paths::download(&mxc)),
        (Method::from_bytes(b"MELT").unwrap(), paths::download(&mxc)),
    ] {
        let answer = alice.request(method.clone(), path.as_str()).await;
        assert_eq!(answer.error(), (405, UNRECOGNIZED.to_owned()), "{method} {path}");
    }
    assert_eq!(alice.head(paths::UPLOAD).await.status(), 405);
}

#[tokio::test]
async fn no_error_is_kept_by_a_cache() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;

    let missing = alice.get("/_matrix/client/v1/media/download/localhost/missing").await;

    assert_eq!(missing.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_listens_still_hears_that_there_is_no_such_endpoint() {
    let server = TestServer::start().await;
    // Much more than all buffers between the two hold.
    let body = pattern(40 * 1024 * 1024);

    for (request, expected) in [("PUT /_matrix/media/v3/upload", 405), ("PUT /_matrix/media/v3/nothing", 404)] {
        let mut connection = server.connect().await;
        connection
            .send(format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()))
            .await;
        connection.send(&body).await;
        assert_eq!(connection.response().await.error(), (expected, UNRECOGNIZED.to_owned()), "{request}");
    }
}
